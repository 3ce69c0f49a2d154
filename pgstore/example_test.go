package pgstore_test

import (
	"context"
	"net/http"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/oncehttp"
	"github.com/onceward/onceward/pgstore"
)

type Order struct {
	ID, From string
	Amount   int
}

type Receipt struct {
	Order  string
	Amount int
}

func ExampleDoTx() { //nolint:testableexamples // it needs a server
	ctx, pool, customer, order := context.Background(), (*pgxpool.Pool)(nil), "c-1", Order{ID: "o-1"}

	transfer := func() error {
		store, err := pgstore.New(pool, nil) // pool is the service's *pgxpool.Pool
		if err != nil {
			return err
		}
		guard, err := onceward.New(store, nil)
		if err != nil {
			return err
		}
		defer guard.Close(context.Background())

		key := onceward.Key{Scope: customer, Operation: "transfer", Value: order.ID}
		_, err = pgstore.DoTx(ctx, guard, store, key, order, func(ctx context.Context, tx pgx.Tx) (Receipt, error) {
			_, err := tx.Exec(ctx, "UPDATE accounts SET balance = balance - $1 WHERE id = $2", order.Amount, order.From)
			return Receipt{Order: order.ID, Amount: order.Amount}, err
		})
		return err
	}
	_ = transfer
}

func ExampleTransactional() { //nolint:testableexamples // it needs a server
	var (
		guard    *onceward.Guard
		store    *pgstore.Store
		customer func(*http.Request) (string, error)
	)
	guarded := func() http.Handler {
		once := oncehttp.New(guard, customer, &oncehttp.Options{Transactions: pgstore.Transactional(store)})
		return once(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			tx, _ := pgstore.TxFromContext(r.Context())
			if _, err := tx.Exec(r.Context(), "UPDATE accounts SET balance = balance - 1"); err != nil {
				http.Error(w, "not transferred", http.StatusInternalServerError) // rolls back
				return
			}
			w.WriteHeader(http.StatusCreated) // commits, and is sent when that is done
		}))
	}
	_ = guarded
}
