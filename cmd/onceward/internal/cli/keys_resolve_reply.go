package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/onceward/onceward/oncehttp"
)

// reply is the answer that retries get from now on.
type reply struct {
	status int // 0 if there is none
	header http.Header
	body   string // a file, or - for the standard input

	content []byte // of body, once it was read
}

const (
	maxInput   = 16 << 20 // bytes of a file that are read
	maxOutcome = 1 << 20  // bytes, the default of --max-outcome
)

func (p *reply) flags(cmd *cobra.Command) {
	add(cmd, &p.status, "status", "", "CODE", "with --done: retries get an answer with this status", answerStatus)
	add(cmd, &p.header, "header", "", "'NAME: VALUE'", "of the answer; may be repeated", p.parseHeader)
	cmd.Flags().StringVar(&p.body, "body", "", "of the answer, a `FILE`, or - for the standard input")
}

func (p *reply) given() bool { return p.status != 0 || p.header != nil || p.body != "" }

func (p *reply) check() error {
	switch {
	case p.status == 0 && p.given():
		return errors.New("--status is missing: want the status of the answer that --header and --body belong to, such as --status 201")
	case p.body != "" && p.header.Get("Content-Type") == "":
		return errors.New("--header 'Content-Type: …' is missing: want what kind of content --body is, such as application/json")
	default:
		return nil
	}
}

// encode makes the stored form of the answer.
func (p *reply) encode(ctx context.Context, stdin io.Reader) ([]byte, error) {
	if p.body != "" {
		var err error
		if p.content, err = readInput(ctx, p.body, stdin); err != nil {
			return nil, failed(fmt.Errorf("nothing was changed: --body %s: %w", p.body, err))
		}
	}
	answer, err := oncehttp.EncodeAnswer(p.status, p.header, p.content)
	if err != nil {
		return nil, fmt.Errorf("--status %d cannot have the --body %s: want another status, or no body", p.status, p.body)
	}
	return answer, nil
}

// warnings are about an answer that can be stored, and is hardly what was meant.
func (p *reply) warnings() (warnings []string) {
	if len(p.content) > maxOutcome {
		warnings = append(warnings, fmt.Sprintf("the body has %d bytes, more than the proxy keeps of an answer unless --max-outcome says so",
			len(p.content)))
	}
	kind, _, _ := mime.ParseMediaType(p.header.Get("Content-Type"))
	isJSON := kind == "application/json" || strings.HasSuffix(kind, "+json")
	switch {
	case isJSON && len(p.content) == 0:
		warnings = append(warnings, "the body is empty, which is no JSON as Content-Type says")
	case isJSON && !json.Valid(p.content):
		warnings = append(warnings, "the body is no JSON as Content-Type says")
	}
	return warnings
}

// readInput reads a file, or the standard input for -, until ctx ends. Nothing ends a read of a terminal, so it is then left
// behind.
func readInput(ctx context.Context, name string, stdin io.Reader) ([]byte, error) {
	type input struct {
		text []byte
		err  error
	}
	read := make(chan input, 1)
	go func() {
		text, err := readAll(name, stdin)
		read <- input{text, err}
	}()
	select {
	case in := <-read:
		return in.text, in.err
	case <-ctx.Done():
		return nil, fmt.Errorf("it had not come to its end: %w", context.Cause(ctx))
	}
}

func readAll(name string, stdin io.Reader) ([]byte, error) {
	from := stdin
	if name != "-" {
		file, err := os.Open(name) //nolint:gosec // the operator names it, with the operator's rights
		if err != nil {
			return nil, err
		}
		defer file.Close()
		from = file
	}
	text, err := io.ReadAll(io.LimitReader(from, maxInput+1))
	if err == nil && len(text) > maxInput {
		err = fmt.Errorf("want at most %d MiB", maxInput>>20)
	}
	return text, err
}

func answerStatus(text string) (int, error) {
	code, err := strconv.Atoi(text)
	if err != nil || code < 200 || code > 599 {
		return 0, errors.New("want an HTTP status from 200 to 599, such as 201")
	}
	return code, nil
}

func fenceNumber(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 {
		return 0, errors.New("want a number of at least 1, as onceward keys get prints it")
	}
	return n, nil
}

func reasonText(text string) (string, error) {
	const most = 1000
	if strings.TrimSpace(text) == "" || len(text) > most || strings.ContainsFunc(text, unicode.IsControl) {
		return "", fmt.Errorf("want a line of text of at most %d bytes", most)
	}
	return text, nil
}

// parseHeader adds a field to those that were given before.
func (p *reply) parseHeader(text string) (http.Header, error) {
	name, value, _ := strings.Cut(text, ":")
	value = strings.TrimSpace(value)
	name = textproto.CanonicalMIMEHeaderKey(name)
	switch {
	case name == "" || value == "" || strings.ContainsAny(name, " \t") || strings.ContainsFunc(text, unicode.IsControl):
		return nil, errors.New("want NAME: VALUE, such as 'Location: /orders/12'")
	case name == "Content-Length":
		return nil, errors.New("want no length: it follows from the body")
	case !replayed(name, value):
		return nil, errors.New("such a field is not replayed: want Content-Type, Location, ETag, Link, Cache-Control or another one " +
			"that describes the answer")
	}
	if p.header == nil {
		p.header = http.Header{}
	}
	p.header.Add(name, value)
	return p.header, nil
}

// replayed reports whether a stored answer keeps the field.
func replayed(name, value string) bool {
	with, err := oncehttp.EncodeAnswer(http.StatusOK, http.Header{name: {value}}, nil)
	without, _ := oncehttp.EncodeAnswer(http.StatusOK, nil, nil)
	return err == nil && !bytes.Equal(with, without)
}
