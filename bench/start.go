package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/onceward/onceward/diskstore"
)

// startTable is what it takes to open a store that holds so many records, and how much memory that takes. Opening and
// reading happen in a process of its own, so that nothing else is in its memory.
func startTable(scratch string, records ...int) *table {
	return &table{
		name: "start", title: "opening diskstore, whose files are in the page cache", durable: true,
		custom: func() (header []string, lines [][]string, err error) {
			header = []string{"records", "after", "opened in ms", "resident MiB", "replay ns", "resident MiB then", "target"}
			for _, n := range records {
				of, err := openings(scratch, n)
				if err != nil {
					return nil, nil, fmt.Errorf("%d records: %w", n, err)
				}
				lines = append(lines, of...)
			}
			return header, lines, nil
		},
	}
}

// openings makes a store and opens it twice: first after a crash, then after a proper end.
func openings(scratch string, records int) (lines [][]string, err error) {
	dir, err := os.MkdirTemp(scratch, "start-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	args := []string{dir, strconv.Itoa(records)}
	filler, err := childCommand("filler", args...)
	if err != nil {
		return nil, err
	}
	if err := filler.Run(); err != nil {
		return nil, err
	}
	for _, after := range []string{"a crash", "Close"} {
		opener, err := childCommand("opener", args...)
		if err != nil {
			return nil, err
		}
		text, err := opener.Output()
		if err != nil {
			return nil, err
		}
		var o opening
		if err := json.Unmarshal(text, &o); err != nil {
			return nil, err
		}
		lines = append(lines, o.line(records, after))
	}
	return lines, nil
}

// opening is what a process used that opened a store, and then read from it.
type opening struct {
	Took          time.Duration `json:"took"`
	Resident      int           `json:"resident"` // bytes
	Replay        time.Duration `json:"replay"`   // each
	ResidentAfter int           `json:"residentAfter"`
}

var oneSecond = target{what: " ms", of: func(f figures) float64 { return f.ns / 1e6 }, atMost: 1000}

func (o opening) line(records int, after string) []string {
	const mebibyte = 1 << 20
	return []string{
		strconv.Itoa(records), after, strconv.FormatInt(o.Took.Milliseconds(), 10),
		ifKnown("%.0f", float64(o.Resident)/mebibyte), strconv.FormatInt(o.Replay.Nanoseconds(), 10),
		ifKnown("%.0f", float64(o.ResidentAfter)/mebibyte),
		judge([]target{oneSecond}, figures{ns: float64(o.Took)}),
	}
}

// fillStore makes records and does not close the store: the process ends, as in a crash.
func fillStore(dir string, records int) error {
	s, err := diskstore.Open(dir, nil)
	if err != nil {
		return err
	}
	p := pairs{context.Background(), s, idOf, theClaim()}
	return spread(512, records, p.fresh)
}

// openStore says on stdout what an opening takes.
func openStore(dir string, records int) error {
	begun := time.Now()
	s, err := diskstore.Open(dir, nil)
	if err != nil {
		return err
	}
	o := opening{Took: time.Since(begun), Resident: resident()}
	p := pairs{context.Background(), s, idOf, theClaim()}
	replays := min(records, 100_000)
	begun = time.Now()
	for n := range replays {
		if err := p.replay(n); err != nil {
			return err
		}
	}
	o.Replay, o.ResidentAfter = time.Since(begun)/time.Duration(replays), resident()
	if err := s.Close(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(o)
}

// resident is how many bytes of this process are in memory, or 0 where the system does not say.
func resident() int {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var total, pages int
	_, _ = fmt.Sscan(string(text), &total, &pages)
	return pages * os.Getpagesize()
}
