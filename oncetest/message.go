package oncetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
)

func readBody(r *http.Request) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("the request's body cannot be read: %w", err)
	}
	return body, nil
}

// message is the request as it goes over the wire, so that a retry is the same to the last byte.
func (k *kit) message(key string) ([]byte, error) {
	r := k.request.Clone(context.Background())
	if r.Host == "" && r.URL.Host == "" {
		r.Host = "127.0.0.1"
	}
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	r.Header[k.KeyHeader] = []string{key}
	r.Body, r.ContentLength, r.TransferEncoding = nil, int64(len(k.body)), nil
	if len(k.body) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(k.body))
	}
	var wire bytes.Buffer
	if err := r.Write(&wire); err != nil {
		return nil, fmt.Errorf("the request cannot be sent: %w", err)
	}
	return wire.Bytes(), nil
}

// freshKey varies the request's key at its front, where a quoted one needs no parsing and the time at the end of a UUID of
// version 7 stays true.
func (k *kit) freshKey() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand ends the program instead
	if own := k.request.Header.Get(k.KeyHeader); own != "" {
		unquoted, quoted := strings.CutPrefix(own, `"`)
		fresh := hex.EncodeToString(random[:6]) + "-" + unquoted
		if quoted {
			return `"` + fresh
		}
		return fresh
	}
	random[6] = random[6]&0x0f | 0x40 // version 4 and its variant (RFC 9562, section 5.4)
	random[8] = random[8]&0x3f | 0x80
	digits := hex.EncodeToString(random[:])
	return strings.Join([]string{digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]}, "-")
}
