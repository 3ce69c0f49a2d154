package pgstore

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Open returns a store on a pool of its own, which Close ends. The URL is postgres://user:password@host:5432/database, with
// the parameters of libpq, of [pgxpool.ParseConfig], such as pool_max_conns, and of pgx, such as default_query_exec_mode. A
// server that cannot be used is an error, as for [New]. Errors do not show the password.
func Open(address string, o *Options) (*Store, error) {
	config, err := parse(address)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return nil, fmt.Errorf("pgstore: %w", err)
	}
	s, err := New(pool, o)
	if err != nil {
		pool.Close()
		return nil, err
	}
	waiting := s.close
	s.close = func() {
		waiting()
		pool.Close()
	}
	return s, nil
}

func parse(address string) (*pgxpool.Config, error) {
	u, err := url.Parse(address)
	if err != nil {
		// The error of url.Parse shows the whole address.
		return nil, errors.New("pgstore: the address is no URL: characters such as / @ : % in a password have to be escaped")
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, fmt.Errorf("pgstore: %s: unknown scheme: use postgres://", u.Redacted())
	}
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, fmt.Errorf("pgstore: %s: %s", u.Redacted(), reason(err))
	}
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "onceward"
	}
	return config, nil
}
