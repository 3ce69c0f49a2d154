// Command gin is a payments API on gin. The guarded handlers stay gin's: they are an engine inside the engine.
package main

import (
	"log"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/onceward/onceward"
	"github.com/onceward/onceward/examples/shop"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/oncehttp"
)

func routes(guard *onceward.Guard, ledger *shop.Ledger) http.Handler {
	customer := shop.Account // says whose key a request carries
	once := oncehttp.New(guard, customer, &oncehttp.Options{Keys: oncehttp.Required})
	guarded := gin.New()
	guarded.Use(gin.Recovery()) // inside, so that a retry gets what the first client got of a panic
	guarded.POST("/payments", pay(ledger))

	router := gin.New()
	router.POST("/payments", authenticate, gin.WrapH(once(guarded)))
	return router
}

// authenticate leaves the account in the request's context, where once looks; what c.Set keeps is gin's alone.
func authenticate(c *gin.Context) {
	user, password, _ := c.Request.BasicAuth()
	ctx, ok := shop.SignIn(c.Request.Context(), user, password)
	if !ok {
		c.Header("WWW-Authenticate", "Basic")
		c.AbortWithStatus(http.StatusUnauthorized)
		return
	}
	c.Request = c.Request.WithContext(ctx)
}

func pay(ledger *shop.Ledger) gin.HandlerFunc {
	return func(c *gin.Context) {
		var payment shop.Payment
		if err := c.ShouldBindJSON(&payment); err != nil {
			c.JSON(http.StatusBadRequest, gin.H{"error": err.Error()})
			return
		}
		account, _ := shop.Account(c.Request) // once has asked it already
		receipt, err := ledger.Charge(account, payment)
		if err != nil {
			c.JSON(http.StatusUnprocessableEntity, gin.H{"error": err.Error()})
			return
		}
		c.Header("Location", "/payments/"+receipt.ID)
		c.JSON(http.StatusCreated, receipt)
	}
}

func main() {
	guard, err := onceward.New(memstore.New(nil), nil)
	if err != nil {
		log.Fatal(err)
	}
	shop.Serve(routes(guard, new(shop.Ledger)), guard)
}
