package redisstore

import (
	"context"
	"crypto/sha1" //nolint:gosec // Redis names scripts by it
	"embed"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

//go:embed lua/*.lua
var files embed.FS

// script is one whole transition, as Redis runs it.
type script struct{ text, sha string }

// scripts are the transitions for one kind of server.
type scripts struct {
	acquire, acquireFull, extend, complete, release, resolve, await, get, list, history, lacks, clock *script
}

// newScripts makes those for a server that knows flags, Redis 7 and Valkey, or for an older one. A script with allow-oom
// runs also when Redis is at its maxmemory; all have it but the one that takes new keys.
func newScripts(flags bool) *scripts {
	compose := func(flag string, parts ...string) *script {
		var text strings.Builder
		if flags {
			text.WriteString("#!lua" + flag + "\n")
		}
		for _, part := range parts {
			text.WriteString(source(part))
		}
		sum := sha1.Sum([]byte(text.String())) //nolint:gosec // see the import
		return &script{text: text.String(), sha: hex.EncodeToString(sum[:])}
	}
	const always = " flags=allow-oom"
	return &scripts{
		acquire:     compose("", "record", "trail", "steps", "acquire"),
		acquireFull: compose(always, "record", "trail", "steps", "acquire"),
		extend:      compose(always, "record", "trail", "steps", "extend"),
		complete:    compose(always, "complete", "record", "trail", "steps", "completed"),
		release:     compose(always, "record", "trail", "steps", "release"),
		resolve:     compose(always, "record", "trail", "steps", "resolve"),
		await:       compose(always, "record", "steps", "await"),
		get:         compose(always, "record", "get"),
		list:        compose(always, "record", "list"),
		history:     compose(always, "record", "trail", "history"),
		lacks:       compose(always, "record", "trail", "lacks"),
		clock:       compose(always, "record", "clock"),
	}
}

func source(name string) string {
	text, err := files.ReadFile("lua/" + name + ".lua")
	if err != nil {
		panic(err) // it is embedded
	}
	return string(text)
}

// What a script answers instead of a verdict.
const (
	codeOK         = 0
	codeLost       = -1
	codeUnreadable = -2
	codeFull       = -3
	codeNoExpiry   = -4
)

// reply is what a script answers: a code, and perhaps the value of a record and the milliseconds for which it is kept.
// A list has more.
type reply struct {
	code  int64
	found bool // value, which may be empty, and left are there
	value string
	left  int64
	rest  []string
}

// kept is for how long the record still is.
func (p *reply) kept() time.Duration { return time.Duration(p.left) * time.Millisecond }

// evaluator runs scripts.
type evaluator interface {
	eval(ctx context.Context, s *script, a call) (reply, error)
}

// rueidisServer runs scripts by their SHA-1, and as a whole when Redis does not know them.
type rueidisServer struct{ client rueidis.Client }

func (r rueidisServer) eval(ctx context.Context, s *script, a call) (reply, error) {
	res := r.do(ctx, "EVALSHA", s.sha, &a)
	if e, ok := rueidis.IsRedisErr(res.Error()); ok && e.IsNoScript() {
		res = r.do(ctx, "EVAL", s.text, &a)
	}
	m, err := res.ToMessage()
	if err != nil {
		return reply{}, err
	}
	if m.IsInt64() {
		code, err := m.AsInt64()
		return reply{code: code}, err
	}
	return replyOf(m.ToArray())
}

func (r rueidisServer) do(ctx context.Context, command, script string, a *call) rueidis.RedisResult {
	c := r.client.B().Arbitrary(command, script)
	if a.trail == "" {
		c = c.Args("1").Keys(a.key())
	} else {
		c = c.Args("2").Keys(a.key(), a.trail)
	}
	for i := 1; i < a.n; i++ {
		c = c.Args(a.arg(i))
	}
	return r.client.Do(ctx, c.Args(a.more...).Build())
}

func replyOf(parts []rueidis.RedisMessage, err error) (p reply, _ error) {
	if err != nil || len(parts) < 3 {
		return p, errors.Join(errStrange, err)
	}
	p.found = true
	p.code, err = parts[0].AsInt64()
	if err == nil {
		p.value, err = parts[1].ToString()
	}
	if err == nil {
		p.left, err = parts[2].AsInt64()
	}
	for _, part := range parts[3:] {
		text, failed := part.ToString()
		p.rest, err = append(p.rest, text), errors.Join(err, failed)
	}
	return p, err
}

var errStrange = errors.New("redisstore: a script answered something else than it does")

// setNew stores value under key for px milliseconds, and reports whether it did: not if there is something.
func (r rueidisServer) setNew(ctx context.Context, key, value, px string) (bool, error) {
	err := r.client.Do(ctx, r.client.B().Arbitrary("SET").Keys(key).Args(value, "NX", "PX", px).Build()).Error()
	if rueidis.IsRedisNil(err) {
		return false, nil
	}
	return err == nil, err
}

// Eval runs a script on Redis, as EVAL does, and returns what it answers: an int64, or a []any of int64 and string.
// It may use EVALSHA, and it may repeat a call.
type Eval func(ctx context.Context, script string, keys []string, args ...any) (any, error)

type evalServer struct{ call Eval }

func (e evalServer) eval(ctx context.Context, s *script, a call) (reply, error) {
	var list []any
	for i := 1; i < a.n; i++ {
		list = append(list, a.arg(i))
	}
	for _, arg := range a.more {
		list = append(list, arg)
	}
	keys := []string{a.key()}
	if a.trail != "" {
		keys = append(keys, a.trail)
	}
	answer, err := e.call(ctx, s.text, keys, list...)
	if err != nil {
		return reply{}, err
	}
	if code, ok := answer.(int64); ok {
		return reply{code: code}, nil
	}
	parts, ok := answer.([]any)
	if !ok || len(parts) < 3 {
		return reply{}, errStrange
	}
	p := reply{found: true}
	var okCode, okLeft bool
	p.code, okCode = parts[0].(int64)
	p.value, ok = text(parts[1])
	p.left, okLeft = parts[2].(int64)
	for _, part := range parts[3:] {
		more, isText := text(part)
		p.rest, ok = append(p.rest, more), ok && isText
	}
	if !ok || !okCode || !okLeft {
		return reply{}, errStrange
	}
	return p, nil
}

func text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case []byte:
		return string(v), true
	default:
		return "", false
	}
}
