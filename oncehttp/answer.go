package oncehttp

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// An answer is stored as
//
//	"owa" version | SHA-256 of what follows | length of the body, 8 bytes | body | status | headers | trailers
//
// where numbers after the body are uvarints, a string is its length and its bytes, and headers and trailers are a count
// of fields, each a name and a count of values. The body stands in front because it is recorded before the rest is known,
// into the buffer that is then stored.
const (
	answerMagic = "owa\x01"
	digestAt    = len(answerMagic)
	lengthAt    = digestAt + sha256.Size
	bodyAt      = lengthAt + 8
)

var errAnswer = errors.New("oncehttp: the stored answer cannot be read: it is damaged, or of a version that is not known here")

// answer is what is stored of a response. Trailers that were not declared have the prefix of http.TrailerPrefix.
type answer struct {
	status  int
	header  []field
	body    []byte
	trailer []field
}

type field struct {
	name   string
	values []string
}

// EncodeAnswer makes the stored form of an answer, for whoever resolves a doubt with one. Of header it keeps what describes
// the answer, as for any answer; see [Options].StoreHeaders for the rest. A status of 1xx, and a body with a status that
// has none, are errors.
func EncodeAnswer(status int, header http.Header, body []byte) ([]byte, error) {
	if status < 200 || status > 999 || len(body) > 0 && !bodyAllowed(status) {
		return nil, fmt.Errorf("oncehttp: %d with a body of %d bytes is no answer that can be replayed", status, len(body))
	}
	fields := slices.DeleteFunc(snapshot(nil, header), func(f field) bool { return !describes(f.name) })
	return sealAnswer(append(make([]byte, bodyAt, bodyAt+len(body)+256), body...), status, fields, nil), nil
}

// sealAnswer makes an answer of buf, which holds bodyAt bytes for it and then the body.
func sealAnswer(buf []byte, status int, header, trailer []field) []byte {
	copy(buf, answerMagic)
	binary.BigEndian.PutUint64(buf[lengthAt:], uint64(len(buf)-bodyAt))
	buf = binary.AppendUvarint(buf, uint64(status))
	buf = appendFields(buf, header)
	buf = appendFields(buf, trailer)
	sum := sha256.Sum256(buf[lengthAt:])
	copy(buf[digestAt:], sum[:])
	return buf
}

func appendFields(buf []byte, fields []field) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(fields)))
	for _, f := range fields {
		buf = appendParts(buf, f.name)
		buf = binary.AppendUvarint(buf, uint64(len(f.values)))
		buf = appendParts(buf, f.values...)
	}
	return buf
}

// decodeAnswer reads a stored answer. The body is a part of data.
func decodeAnswer(data []byte) (answer, error) {
	if len(data) < bodyAt || string(data[:digestAt]) != answerMagic {
		return answer{}, errAnswer
	}
	if sum := sha256.Sum256(data[lengthAt:]); string(data[digestAt:lengthAt]) != string(sum[:]) {
		return answer{}, errAnswer
	}
	length := binary.BigEndian.Uint64(data[lengthAt:])
	if length > uint64(len(data)-bodyAt) {
		return answer{}, errAnswer
	}
	end := bodyAt + int(length)
	rest := decoder{text: string(data[end:])}
	a := answer{body: data[bodyAt:end:end]}
	a.status = int(rest.number(999))
	a.header = rest.fields()
	a.trailer = rest.fields()
	if rest.failed || rest.text != "" || a.status < 100 {
		return answer{}, errAnswer
	}
	return a, nil
}

// decoder reads what stands behind the body. All strings are parts of one, so that few are allocated.
type decoder struct {
	text   string
	failed bool
}

func (d *decoder) number(most int) uint64 {
	var buf [binary.MaxVarintLen64]byte
	n, size := binary.Uvarint(buf[:copy(buf[:], d.text)])
	if size <= 0 || n > uint64(most) {
		d.text, d.failed = "", true
		return 0
	}
	d.text = d.text[size:]
	return n
}

// count is a number of things that follow, each of which takes so many bytes at least.
func (d *decoder) count(bytes int) uint64 {
	n := d.number(len(d.text))
	if n > uint64(len(d.text)/bytes) {
		d.text, d.failed = "", true
		return 0
	}
	return n
}

func (d *decoder) string() string {
	n := d.count(1)
	s := d.text[:n]
	d.text = d.text[n:]
	return s
}

// fields reads fields. Each takes two bytes at least and each value one, which bounds what a count can make us allocate.
func (d *decoder) fields() []field {
	n := d.count(2)
	if n == 0 {
		return nil
	}
	fields := make([]field, n)
	for i := range fields {
		fields[i].name = d.string()
		fields[i].values = make([]string, d.count(1))
		for j := range fields[i].values {
			fields[i].values[j] = d.string()
		}
	}
	return fields
}

// writeTo sends status, body and trailers; the header is in w already. Errors mean that the client left.
func (a *answer) writeTo(w http.ResponseWriter) {
	for _, f := range a.trailer {
		if strings.HasPrefix(f.name, http.TrailerPrefix) {
			w.Header()[f.name] = f.values // before the header goes out, so that net/http chooses chunks
		} else {
			w.Header().Add("Trailer", f.name)
		}
	}
	w.WriteHeader(a.status)
	if len(a.body) > 0 {
		_, _ = w.Write(a.body)
	}
	for _, f := range a.trailer {
		w.Header()[f.name] = f.values
	}
}
