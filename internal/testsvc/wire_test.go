package testsvc

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
)

// session speaks as much of a protocol as these tests need. Each of its steps may take ten seconds.
type session struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func connect(t *testing.T, addr string) *session {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	check.NoError(t, err, "connecting to %s", addr)
	t.Cleanup(func() { _ = conn.Close() })
	return &session{t, conn, bufio.NewReader(conn)}
}

func (s *session) send(message []byte) {
	s.t.Helper()
	_, err := s.conn.Write(message)
	check.NoError(s.t, err, "sending")
}

func (s *session) within(d time.Duration) {
	check.NoError(s.t, s.conn.SetReadDeadline(time.Now().Add(d)), "a deadline")
}

// silent checks that nothing comes for a while.
func (s *session) silent() {
	s.t.Helper()
	s.within(100 * time.Millisecond)
	_, err := s.in.Peek(1)
	check.ErrorIs(s.t, err, os.ErrDeadlineExceeded, "reading from who should be silent")
	s.in.Reset(s.conn) // it remembers errors
}

// redis sends a command and returns the reply as a line, or as the strings in it with blanks between them.
func (s *session) redis(words ...string) string {
	s.t.Helper()
	s.redisSend(words...)
	return s.redisReply()
}

func (s *session) redisSend(words ...string) {
	s.t.Helper()
	message := fmt.Appendf(nil, "*%d\r\n", len(words))
	for _, word := range words {
		message = fmt.Appendf(message, "$%d\r\n%s\r\n", len(word), word)
	}
	s.send(message)
}

func (s *session) redisReply() string {
	s.t.Helper()
	s.within(10 * time.Second)
	line, err := s.in.ReadString('\n')
	check.NoError(s.t, err, "a reply")
	line = strings.TrimSpace(line)
	n, _ := strconv.Atoi(line[1:])
	switch line[0] {
	case '$':
		text := make([]byte, max(n, 0)+2)
		_, err = io.ReadFull(s.in, text)
		check.NoError(s.t, err, "a string")
		return string(text[:len(text)-2])
	case '*':
		parts := make([]string, n)
		for i := range parts {
			parts[i] = s.redisReply()
		}
		return strings.Join(parts, " ")
	default:
		return line[1:]
	}
}

// login opens a session of PostgreSQL.
func login(t *testing.T, server *Server) *session {
	t.Helper()
	u, err := url.Parse(server.URL)
	check.NoError(t, err, "the URL")
	s := connect(t, server.Addr)
	password, _ := u.User.Password()
	body := "\x00\x03\x00\x00user\x00" + u.User.Username() + "\x00database\x00" + u.Path[1:] + "\x00\x00"
	s.send(append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)), body...))
	s.postgresUntil('R')
	s.postgresSend('p', password)
	s.postgresUntil('Z')
	return s
}

// query sends a statement and returns the values of its last row.
func (s *session) query(statement string) string {
	s.t.Helper()
	s.postgresSend('Q', statement)
	return s.postgresUntil('Z')
}

func (s *session) postgresSend(kind byte, text string) {
	s.t.Helper()
	s.send(append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(text)+5)), text+"\x00"...))
}

// postgresUntil reads messages until one of the kind comes.
func (s *session) postgresUntil(kind byte) (row string) {
	s.t.Helper()
	s.within(10 * time.Second)
	for {
		header := make([]byte, 5)
		_, err := io.ReadFull(s.in, header)
		check.NoError(s.t, err, "a message")
		body := make([]byte, binary.BigEndian.Uint32(header[1:])-4)
		_, err = io.ReadFull(s.in, body)
		check.NoError(s.t, err, "the body of a message")
		switch header[0] {
		case 'E':
			s.t.Fatalf("PostgreSQL says %q", body)
		case 'D':
			row = string(body[6:]) // of one column
		}
		if header[0] == kind {
			return row
		}
	}
}

// mariadb returns the version of the server, which speaks first.
func (s *session) mariadb() string {
	s.t.Helper()
	s.within(10 * time.Second)
	header := make([]byte, 5)
	_, err := io.ReadFull(s.in, header)
	check.NoError(s.t, err, "a greeting")
	check.Equal(s.t, header[3:], []byte{0, 10}, "the number of the packet, and the version of the protocol")
	version, err := s.in.ReadBytes(0)
	check.NoError(s.t, err, "a version")
	return string(bytes.TrimSuffix(version, []byte{0}))
}
