package oncehttp

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/onceward/onceward"
)

// Fingerprint is one way to tell whether two requests are the same. Method, path, query and media type always count: the
// query's parameters in any order, the media type without its parameters. The zero value compares bodies byte by byte.
type Fingerprint struct {
	// Algorithm names the way; it is stored with each key. A Body that changes needs another name, and [Options].Also
	// keeps the stored keys valid. Defaults to "http-bytes/1".
	Algorithm string
	// Body returns what counts of the body, which it reads from body; r.Body is empty. An error means that the body is
	// not what Body understands, and is then compared byte by byte. It must be safe for concurrent use.
	// Defaults to nil: byte by byte.
	Body func(r *http.Request, body io.Reader) ([]byte, error)
}

// ByContent compares JSON by value, and forms, also multipart ones, field by field: white space, the order of fields, and
// boundaries do not count. JSON numbers are compared as written. The ignored top-level members or fields do not count
// either. Other bodies, and those that are not what their media type says, are compared byte by byte. JSON is read into
// memory.
func ByContent(ignored ...string) Fingerprint {
	return content("-", ignored, func(name string) bool { return !slices.Contains(ignored, name) })
}

// ByFields is [ByContent] for which only the chosen top-level members or fields count.
func ByFields(chosen ...string) Fingerprint {
	return content("+", chosen, func(name string) bool { return slices.Contains(chosen, name) })
}

func content(sign string, fields []string, counts func(name string) bool) Fingerprint {
	algorithm := "http-content/1"
	for _, field := range slices.Sorted(slices.Values(fields)) {
		algorithm += " " + sign + field
	}
	all := sign == "-" && len(fields) == 0
	body := func(r *http.Request, body io.Reader) ([]byte, error) {
		kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		switch {
		case err != nil:
			return nil, err
		case kind == "application/json" || strings.HasSuffix(kind, "+json"):
			return jsonContent(body, all, counts)
		case kind == "application/x-www-form-urlencoded":
			return formContent(body, counts)
		case kind == "multipart/form-data":
			return multipartContent(multipart.NewReader(body, params["boundary"]), counts)
		default:
			return nil, errors.ErrUnsupported
		}
	}
	return Fingerprint{Algorithm: algorithm, Body: body}
}

func jsonContent(body io.Reader, all bool, counts func(string) bool) ([]byte, error) {
	doc, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	sum, err := onceward.FingerprintJSON(doc)
	if err != nil || all {
		return []byte(sum.Sum), err
	}
	// The document has passed the strict scanner, so encoding/json cannot merge members here.
	var members map[string]json.RawMessage
	if err := json.Unmarshal(doc, &members); err != nil {
		return nil, err
	}
	for name := range members {
		if !counts(name) {
			delete(members, name)
		}
	}
	if doc, err = json.Marshal(members); err != nil {
		return nil, err
	}
	sum, err = onceward.FingerprintJSON(doc)
	return []byte(sum.Sum), err
}

func formContent(body io.Reader, counts func(string) bool) ([]byte, error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	fields, err := url.ParseQuery(string(text))
	if err != nil {
		return nil, err
	}
	for name := range fields {
		if !counts(name) {
			delete(fields, name)
		}
	}
	return []byte(fields.Encode()), nil
}

func multipartContent(body *multipart.Reader, counts func(string) bool) ([]byte, error) {
	type part struct {
		name string
		data []byte
	}
	var parts []part
	for {
		p, err := body.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, p); err != nil {
			return nil, err
		}
		if name := p.FormName(); counts(name) {
			encoding := p.Header.Get("Content-Transfer-Encoding")
			data := appendParts(nil, name, p.FileName(), p.Header.Get("Content-Type"), encoding)
			parts = append(parts, part{name, sum.Sum(data)})
		}
	}
	slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(a.name, b.name) })
	var all []byte
	for _, p := range parts {
		all = append(all, p.data...)
	}
	return all, nil
}

// of computes the fingerprint of r, whose body is spooled.
func (f Fingerprint) of(r *http.Request, body *spool) (onceward.Fingerprint, error) {
	raw := body.sum
	counted, how := raw[:], "bytes"
	if f.Body != nil {
		if c, err := f.Body(r, io.NewSectionReader(body, 0, body.size)); err == nil {
			counted, how = c, "content"
		}
		if body.broken != nil { // the spool, not the document, could not be read
			return onceward.Fingerprint{}, body.broken
		}
	}
	buf := make([]byte, 0, 512)
	buf = appendParts(buf, r.Method, r.URL.EscapedPath(), sortedQuery(r.URL.RawQuery), mediaType(r), how)
	buf = append(buf, counted...)
	sum := sha256.Sum256(buf)
	return onceward.Fingerprint{Algorithm: f.Algorithm, Sum: string(sum[:])}, nil
}

// appendParts puts each part's length before it: otherwise ("ab", "c") and ("a", "bc") would be the same.
func appendParts(buf []byte, parts ...string) []byte {
	for _, part := range parts {
		buf = binary.AppendUvarint(buf, uint64(len(part)))
		buf = append(buf, part...)
	}
	return buf
}

// sortedQuery sorts parameters by name. Those of one name keep their order, which handlers can see.
func sortedQuery(query string) string {
	if !strings.Contains(query, "&") {
		return query
	}
	parameters := strings.Split(query, "&")
	name := func(parameter string) string { before, _, _ := strings.Cut(parameter, "="); return before }
	slices.SortStableFunc(parameters, func(a, b string) int { return cmp.Compare(name(a), name(b)) })
	return strings.Join(parameters, "&")
}

func mediaType(r *http.Request) string {
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(kind))
}

// derive makes the key of a request that has none from its fingerprint, so that requests with one derived key are never
// told that it belongs to another request.
func (x *exchange) derive(input onceward.Fingerprint) (string, error) {
	doc, err := io.ReadAll(io.NewSectionReader(&x.body, 0, x.body.size))
	if err != nil {
		return "", problemBusy
	}
	if _, err := onceward.FingerprintJSON(doc); err != nil {
		return "", problemNotDerivable
	}
	return x.DerivedPrefix + hex.EncodeToString([]byte(input.Sum)), nil
}
