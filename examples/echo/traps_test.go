package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/onceward/onceward"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/oncehttp"
)

// This is what answerErrors is for: without it a refused payment is an empty success, for the first client too.
func TestErrorsNeedAnswerErrors(t *testing.T) {
	guard, err := onceward.New(memstore.New(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	once := echo.WrapMiddleware(oncehttp.New(guard, oncehttp.SingleTenant, nil))
	refuse := func(echo.Context) error { return echo.NewHTTPError(http.StatusUnprocessableEntity) }
	router := echo.New()
	router.POST("/with", refuse, once, answerErrors)
	router.POST("/without", refuse, once)
	for path, want := range map[string]int{"/with": http.StatusUnprocessableEntity, "/without": http.StatusOK} {
		for range 2 {
			r := httptest.NewRequest(http.MethodPost, path, strings.NewReader("{}"))
			r.Header.Set("Idempotency-Key", "k")
			w := httptest.NewRecorder()
			router.ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("%s is answered %d, not %d", path, w.Code, want)
			}
		}
	}
}
