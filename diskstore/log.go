package diskstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The layout of pebble's log, from its package record: blocks of chunks, each with a header of checksum, length, kind and
// the number of the log, and mostly the offset that was synced.
const (
	logBlock    = 32 << 10
	logHeader   = 4 + 2 + 1 + 4
	syncedBytes = 8
	firstSynced = 9 // the first kind of those with that offset
)

// checkLogs finds the damage that pebble takes for a log's end wherever it is, and so would open without what follows: it
// reads the number before it looks at the checksum, and the next number stands at the end. One flipped bit can make one.
func (d *directory) checkLogs() error {
	names, err := d.fs.List(d.records())
	if err != nil {
		return err
	}
	for _, name := range names {
		text, isLog := strings.CutSuffix(name, ".log")
		number, err := strconv.ParseUint(text, 10, 64)
		if !isLog || err != nil {
			continue
		}
		f, err := d.fs.Open(d.fs.PathJoin(d.records(), name))
		if err != nil {
			return err
		}
		if err := errors.Join(checkLog(f, uint32(number)), f.Close()); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// checkLog follows the chunks of a log up to its end, as pebble does, and leaves all other damage to it.
func checkLog(log io.Reader, number uint32) error {
	block := make([]byte, logBlock)
	for offset := 0; ; offset += logBlock {
		n, err := io.ReadFull(log, block)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		at := 0
		for at+logHeader <= n {
			header := block[at:]
			length, kind := int(binary.LittleEndian.Uint16(header[4:])), header[6]
			found := binary.LittleEndian.Uint32(header[7:])
			if found == number+1 && length > 0 { // a real end is empty
				return fmt.Errorf("the log has a false end at byte %d", offset+at)
			}
			if found != number {
				break
			}
			if at += logHeader + length; kind >= firstSynced {
				at += syncedBytes
			}
		}
		if n < logBlock || n-at >= logHeader+syncedBytes { // the rest of a block is empty only if no chunk fits there
			return nil
		}
	}
}
