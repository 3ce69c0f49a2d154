package mysqlstore_test //nolint:testableexamples // it needs a server

import (
	"context"
	"database/sql"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/mysqlstore"
)

type Order struct {
	ID, From string
	Amount   int
}

type Receipt struct {
	Order  string
	Amount int
}

func ExampleDoTx() {
	ctx, db, customer, order := context.Background(), (*sql.DB)(nil), "c-1", Order{ID: "o-1"}

	transfer := func() error {
		store, err := mysqlstore.New(db, nil) // db is the service's *sql.DB
		if err != nil {
			return err
		}
		guard, err := onceward.New(store, nil)
		if err != nil {
			return err
		}
		defer guard.Close(context.Background())

		key := onceward.Key{Scope: customer, Operation: "transfer", Value: order.ID}
		_, err = mysqlstore.DoTx(ctx, guard, store, key, order, func(ctx context.Context, tx *sql.Tx) (Receipt, error) {
			_, err := tx.ExecContext(ctx, "UPDATE accounts SET balance = balance - ? WHERE id = ?", order.Amount, order.From)
			return Receipt{Order: order.ID, Amount: order.Amount}, err
		})
		return err
	}
	_ = transfer
}
