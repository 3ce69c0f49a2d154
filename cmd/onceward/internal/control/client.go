package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxAnswer = 64 << 20 // bytes
	patience  = 5 * time.Second
)

// Client asks the process that holds a data directory. It has the methods of a [Desk], and is safe for concurrent use.
type Client struct {
	http http.Client
	dir  string
}

// Dial finds the process that holds a data directory. The error is [ErrNobody] if there is none.
func Dial(ctx context.Context, dir string) (*Client, error) {
	conn, err := connect(ctx, dir)
	if err != nil {
		return nil, err
	}
	_ = conn.Close()
	return &Client{dir: dir, http: http.Client{Transport: &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return connect(ctx, dir) },
		DisableKeepAlives: true, // a kept connection could break at the next request
	}}}, nil
}

// List is as [Desk.List].
func (c *Client) List(ctx context.Context, q Query) (Page, error) {
	form := url.Values{
		"state": {q.State}, "operation": {q.Operation}, "tag": {q.KeyTag}, "limit": {strconv.Itoa(q.Limit)},
	}
	return ask[Page](ctx, c, scan, http.MethodGet, "/keys?"+form.Encode(), nil)
}

// Get is as [Desk.Get].
func (c *Client) Get(ctx context.Context, id string) (Record, error) {
	if err := CheckID(id); err != nil {
		return Record{}, err
	}
	return ask[Record](ctx, c, scan, http.MethodGet, "/keys/"+id, nil)
}

// Resolve is as [Desk.Resolve].
func (c *Client) Resolve(ctx context.Context, r Resolution) (Record, error) {
	return ask[Record](ctx, c, quick, http.MethodPost, "/resolve", r)
}

// Sweep is as [Desk.Sweep], but returns 0 with an error.
func (c *Client) Sweep(ctx context.Context) (int, error) {
	return ask[int](ctx, c, scan, http.MethodPost, "/sweep", nil)
}

// Stats is as [Desk.Stats].
func (c *Client) Stats(ctx context.Context) (Stats, error) {
	return ask[Stats](ctx, c, scan, http.MethodGet, "/stats", nil)
}

// Audit is as [Desk.Audit].
func (c *Client) Audit(ctx context.Context, q AuditQuery) (Trail, error) {
	form := url.Values{"id": {q.ID}, "operation": {q.Operation}, "tag": {q.KeyTag}, "limit": {strconv.Itoa(q.Limit)}}
	if !q.Since.IsZero() {
		form.Set("since", q.Since.Format(time.RFC3339Nano))
	}
	return ask[Trail](ctx, c, scan, http.MethodGet, "/audit?"+form.Encode(), nil)
}

// Backup is as [Desk.Backup]. The target is a path of the process.
func (c *Client) Backup(ctx context.Context, target string) error {
	_, err := ask[struct{}](ctx, c, copying, http.MethodPost, "/backup", target)
	return err
}

// Watch is as [Desk.Watch]. It is an error if the process ends.
func (c *Client) Watch(ctx context.Context, tell func(Event) error) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	late := time.AfterFunc(quick, cancel)
	response, err := c.send(inner, http.MethodGet, "/events", nil)
	late.Stop()
	if err != nil {
		return err
	}
	defer response.Body.Close()
	for events := json.NewDecoder(response.Body); ; {
		var event Event
		err := events.Decode(&event)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return &Error{Unavailable, "the process that holds " + c.dir + " has ended"}
		}
		if err := tell(event); err != nil {
			return err
		}
	}
}

// ask sends a request and reads the answer, within a little more than what the process takes at most.
func ask[T any](ctx context.Context, c *Client, most time.Duration, method, path string, request any) (T, error) {
	var answer T
	ctx, cancel := context.WithTimeout(ctx, most+patience)
	defer cancel()
	response, err := c.send(ctx, method, path, request)
	if err != nil {
		return answer, err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&answer); err != nil {
		return answer, c.silent(err)
	}
	return answer, nil
}

// send returns the answer to a request that was successful, or the error that the process told.
func (c *Client) send(ctx context.Context, method, path string, request any) (*http.Response, error) {
	text, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://control"+prefix+path, strings.NewReader(string(text)))
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(r)
	if err != nil {
		return nil, c.silent(err)
	}
	if err := c.refusal(response); err != nil {
		_ = response.Body.Close()
		return nil, err
	}
	return response, nil
}

func (c *Client) refusal(response *http.Response) error {
	if theirs := response.Header.Get(versionHeader); theirs != version {
		return &Error{Unsupported, fmt.Sprintf("the process that holds %s speaks version %q on its socket, and this command %q: use "+
			"the onceward that it was started with", c.dir, theirs, version)}
	}
	if response.StatusCode == http.StatusOK {
		return nil
	}
	var refused Error
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&refused); err != nil || refused.Text == "" {
		return &Error{Unknown, fmt.Sprintf("the process that holds %s answers %s", c.dir, response.Status)}
	}
	return &refused
}

// silent is the error of a process that did not answer. What it was asked to do may have happened.
func (c *Client) silent(err error) error {
	if errors.Is(err, ErrNobody) {
		return &Error{Unavailable, "the process that held " + c.dir + " has ended: try again"}
	}
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err // without an address that means nothing to people
	}
	return &Error{Unknown, fmt.Sprintf("the process that holds %s does not answer, and what it was asked for may have happened or "+
		"not: %v", c.dir, err)}
}
