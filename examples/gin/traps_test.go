package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/onceward/onceward"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/oncehttp"
)

// What the README says of gin. If a test fails because more works than it says, change the README.
func TestStreaming(t *testing.T) {
	guard, err := onceward.New(memstore.New(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	guarded := gin.New()
	guarded.Use(gin.RecoveryWithWriter(io.Discard))
	guarded.POST("/stream", func(c *gin.Context) {
		c.Stream(func(io.Writer) bool { return false })
	})
	guarded.POST("/flush", func(c *gin.Context) {
		c.String(http.StatusCreated, "one ")
		c.Writer.Flush()
		_, _ = c.Writer.WriteString("two")
	})
	handler := oncehttp.New(guard, oncehttp.SingleTenant, nil)(guarded)

	// c.Stream asks for an http.CloseNotifier, which is deprecated and not there, and panics. c.Writer.Flush works.
	for _, row := range []struct {
		path, body string
		status     int
	}{
		{"/stream", "", http.StatusInternalServerError},
		{"/flush", "one two", http.StatusCreated},
	} {
		for range 2 { // the first answer, and its replay
			r := httptest.NewRequest(http.MethodPost, row.path, strings.NewReader("{}"))
			r.Header.Set("Idempotency-Key", "k")
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != row.status || w.Body.String() != row.body {
				t.Errorf("%s is answered %d %q", row.path, w.Code, w.Body)
			}
		}
	}
}
