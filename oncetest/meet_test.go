package oncetest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward/internal/check"
)

func TestCrowdMeetsAtTheDoor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inside atomic.Int64
		crowd := newCrowd(3).around(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { inside.Add(1) }))
		for _, want := range []int64{0, 0, 3, 4} { // the fourth is a retry, and does not wait
			go crowd.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", http.NoBody))
			synctest.Wait()
			check.Equal(t, inside.Load(), want, "requests inside")
		}
	})
}

// The handler decides before it reads: one refuses, two read.
func TestCrowdMeetsAtTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var came, read atomic.Int64
		refuse := make(chan struct{})
		crowd := newCrowd(3).around(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if came.Add(1) == 1 {
				<-refuse
				return
			}
			_, _ = io.ReadAll(r.Body)
			read.Add(1)
		}))
		began := time.Now()
		for range 3 {
			go crowd.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", strings.NewReader("12")))
		}
		synctest.Wait()
		check.Equal(t, read.Load(), 0, "bodies read before all have decided")
		close(refuse)
		synctest.Wait()
		check.Equal(t, read.Load(), 2, "bodies read after that")
		check.Equal(t, time.Since(began), 0, "time spent")
	})
}

// A handler may let duplicates wait for the first, which must not wait for them in turn.
func TestCrowdDoesNotWaitForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turn := make(chan struct{}, 1)
		var read atomic.Int64
		crowd := newCrowd(3).around(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			turn <- struct{}{}
			_, _ = io.ReadAll(r.Body)
			read.Add(1)
			<-turn
		}))
		for range 3 {
			go crowd.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", strings.NewReader("12")))
		}
		synctest.Wait()
		check.Equal(t, read.Load(), 0, "bodies read")
		time.Sleep(grace)
		synctest.Wait()
		check.Equal(t, read.Load(), 3, "bodies read when the first has waited long enough")
	})
}
