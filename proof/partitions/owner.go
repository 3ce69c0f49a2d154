package partitions

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/mysqlstore"
	"github.com/onceward/onceward/oncehttp"
	"github.com/onceward/onceward/pgstore"
	"github.com/onceward/onceward/proof/kills"
	"github.com/onceward/onceward/redisstore"
)

// variable is set for a process that is to be an owner.
const variable = "PARTITIONS_OWNER"

// config is what a node is told.
type config struct {
	Name      string        `json:"name"`
	Mode      kills.Mode    `json:"mode"`
	Store     string        `json:"store"`     // a URL
	Namespace string        `json:"namespace"` // of a Redis
	Socket    string        `json:"socket"`    // where it serves: a file, which no cut can reach
	Ledger    string        `json:"ledger"`    // where the ledger listens: as above
	Lease     time.Duration `json:"lease"`
	Patience  time.Duration `json:"patience"` // with a call of the store; 0 is that of the guard's options
}

// Work makes this process an owner if it was started as one, and then does not return.
func Work() {
	if os.Getenv(variable) == "" {
		return
	}
	if err := work(); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "owner:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// work says that it is there, so that its network can be made, is told what to do, and does it until its input ends.
func work() error {
	_, _ = fmt.Fprintln(os.Stdout, "awake")
	input := json.NewDecoder(os.Stdin)
	var c config
	if err := input.Decode(&c); err != nil {
		return err
	}
	n, err := c.serve()
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(os.Stdout, "serving")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return n.close()
}

// node is a service that runs.
type node struct {
	guard  *onceward.Guard
	server *http.Server
	store  interface{ Close() }
}

// serve opens the store and serves.
func (c *config) serve() (*node, error) {
	h := &handler{config: c, ledger: &http.Client{Transport: over(c.Ledger)}}
	store, transactions, err := h.open()
	if err != nil {
		return nil, err
	}
	policy := onceward.Policy{Lease: c.Lease}
	if c.Mode == kills.Rerun || c.Mode == kills.TwoSteps {
		policy.OnCrash, policy.MaxAttempts = onceward.Rerun, 1000
	}
	guard, err := onceward.New(store, &onceward.Options{
		Policy: policy, StoreTimeout: c.Patience, BeginTimeout: 3 * c.Patience, CompleteTimeout: c.Patience, BreakerPause: c.Patience / 3,
		Node: c.Name, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "unix", c.Socket)
	if err != nil {
		return nil, err
	}
	opts := &oncehttp.Options{}
	if c.Mode == kills.Tx {
		opts.Transactions = transactions
	}
	server := &http.Server{Handler: oncehttp.New(guard, oncehttp.SingleTenant, opts)(h), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	return &node{guard, server, store}, nil
}

func (n *node) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	defer n.store.Close()
	return errors.Join(n.server.Shutdown(ctx), n.guard.Close(ctx))
}

// over speaks to whoever listens on a socket.
func over(socket string) *http.Transport {
	return &http.Transport{
		MaxIdleConnsPerHost: 16,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}
}

// handler is what is to be done once for each key: the ledger is told, and in a transaction there is an effect too.
type handler struct {
	*config

	ledger *http.Client
	insert func(ctx context.Context, statement string) error
}

// The effects of transactions are rows of a table without a key, so that nothing but onceward keeps duplicates out.
const (
	makeTable = "CREATE TABLE effects (name VARCHAR(100) NOT NULL, answer VARCHAR(200) NOT NULL)"
	addEffect = "INSERT INTO effects (name, answer) VALUES ('%s', '%s')"
	allEffect = "SELECT name, answer FROM effects"
)

// closable is a store that has connections of its own.
type closable interface {
	driver.Store
	Close()
}

func (h *handler) open() (store closable, transactions oncehttp.Transactions, err error) {
	log := slog.New(slog.DiscardHandler)
	switch scheme, _, _ := strings.Cut(h.Store, "://"); scheme {
	case "redis":
		store, err = redisstore.Open(h.Store, &redisstore.Options{Namespace: h.Namespace, Logger: log})
		return store, nil, err
	case "postgres":
		pg, err := pgstore.Open(h.Store, &pgstore.Options{Logger: log})
		if err != nil {
			return nil, nil, err
		}
		h.insert = func(ctx context.Context, statement string) error {
			tx, _ := pgstore.TxFromContext(ctx)
			_, err := tx.Exec(ctx, statement)
			return err
		}
		return pg, pgstore.Transactional(pg), nil
	default:
		my, err := mysqlstore.Open(h.Store, &mysqlstore.Options{Logger: log})
		if err != nil {
			return nil, nil, err
		}
		h.insert = func(ctx context.Context, statement string) error {
			tx, _ := mysqlstore.TxFromContext(ctx)
			_, err := tx.ExecContext(ctx, statement)
			return err
		}
		return my, mysqlstore.Transactional(my), nil
	}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	attempt, _ := onceward.FromContext(r.Context())
	it := entry{Name: r.Header.Get("Idempotency-Key"), Node: h.Name, Fence: attempt.Fence()}
	answer := fmt.Sprintf("%s by the %s with fence %d: %s", it.Name, it.Node, it.Fence, rand.Text())
	if h.Mode == kills.Tx {
		if err := h.insert(r.Context(), fmt.Sprintf(addEffect, it.Name, answer)); err != nil {
			http.Error(w, "no effect", http.StatusInternalServerError) // and it is rolled back
			return
		}
	}
	told := context.AfterFunc(r.Context(), func() { _ = h.tell("lost", it) })
	err := h.tell("started", it) // whatever becomes of the lease: it is a handler that takes no notice
	told()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, answer)
}

// tell returns when the ledger has taken note, which may be much later.
func (h *handler) tell(what string, it entry) error {
	text, err := json.Marshal(it)
	if err != nil {
		return err
	}
	resp, err := h.ledger.Post("http://ledger/"+what, "application/json", strings.NewReader(string(text))) //nolint:noctx // as said
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
