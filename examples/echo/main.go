// Command echo is a payments API on echo.
package main

import (
	"log"
	"net/http"

	"github.com/labstack/echo/v4"
	"github.com/onceward/onceward"
	"github.com/onceward/onceward/examples/shop"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/oncehttp"
)

func routes(guard *onceward.Guard, ledger *shop.Ledger) http.Handler {
	customer := shop.Account // says whose key a request carries
	once := oncehttp.New(guard, customer, &oncehttp.Options{Keys: oncehttp.Required})
	router := echo.New()
	router.POST("/payments", pay(ledger), authenticate, echo.WrapMiddleware(once), answerErrors)
	return router
}

// answerErrors makes answers of errors while once is there to see them. Without it an error becomes an answer when once
// is through: it has stored an empty 200 by then.
func answerErrors(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := next(c); err != nil {
			c.Error(err)
		}
		return nil
	}
}

// authenticate leaves the account in the request's context, where once looks; what c.Set keeps is echo's alone.
func authenticate(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		user, password, _ := c.Request().BasicAuth()
		ctx, ok := shop.SignIn(c.Request().Context(), user, password)
		if !ok {
			c.Response().Header().Set("WWW-Authenticate", "Basic")
			return echo.ErrUnauthorized
		}
		c.SetRequest(c.Request().WithContext(ctx))
		return next(c)
	}
}

func pay(ledger *shop.Ledger) echo.HandlerFunc {
	return func(c echo.Context) error {
		var payment shop.Payment
		if err := c.Bind(&payment); err != nil {
			return err
		}
		account, _ := shop.Account(c.Request()) // once has asked it already
		receipt, err := ledger.Charge(account, payment)
		if err != nil {
			return echo.NewHTTPError(http.StatusUnprocessableEntity, err.Error())
		}
		c.Response().Header().Set("Location", "/payments/"+receipt.ID)
		return c.JSON(http.StatusCreated, receipt)
	}
}

func main() {
	guard, err := onceward.New(memstore.New(nil), nil)
	if err != nil {
		log.Fatal(err)
	}
	shop.Serve(routes(guard, new(shop.Ledger)), guard)
}
