package main

import "fmt"

// The tables of a database are against what somebody writes who has nothing but it: a statement before an operation, one after
// it, and one for a repetition.

var callersOfSQL = []int{1, 16, 64, 128, 512}

// sqlTables are those of one kind of database. Ceiling is what the plain statements are called where a commit waits for no
// disk. Targets are by callers.
type sqlTables struct {
	name, store string
	service     *service
	open        func() (*database, error)
	openQuiet   func() (*database, error) // one whose log is written by statements only
	hasty       string

	fresh, replay, tx map[int]float64
	nothingLogged     []target // of replays
}

func postgresTables() *sqlTables {
	return &sqlTables{
		name: "postgres", store: "pgstore", service: postgresService, hasty: "synchronous_commit=off",
		open:          func() (*database, error) { return openPostgres() },
		openQuiet:     func() (*database, error) { return openPostgres("wal_level=minimal", "max_wal_senders=0") },
		fresh:         map[int]float64{1: 0.95, 16: 1.1, 64: 2.5, 128: 3.3, 512: 5.5},
		replay:        map[int]float64{1: 0.65, 128: 3.5},
		tx:            map[int]float64{16: 0.55, 128: 0.55},
		nothingLogged: []target{nothingLogged},
	}
}

func mariadbTables() *sqlTables {
	return &sqlTables{
		name: "mariadb", store: "mysqlstore", service: mariadbService, hasty: "innodb_flush_log_at_trx_commit=0",
		open: openMariaDB, openQuiet: openMariaDB,
	}
}

func (k *sqlTables) all() []*table { return []*table{k.pairs(), k.replays(), k.transactions()} }

func (k *sqlTables) table(suffix, title string, rows []row) *table {
	return &table{name: k.name + suffix, title: title, service: k.service, durable: true, rows: rows}
}

func named(what string, callers int) string { return fmt.Sprintf("%s, callers: %d", what, callers) }

func (k *sqlTables) pairs() *table {
	s := &shared{open: k.open}
	plainPair := func(d *database, n int) error { return d.plain.fresh(n) }
	pair := func(d *database, n int) error { return d.store.fresh(n) }
	auditedPair := func(d *database, n int) error { return d.audited.fresh(n) }
	var rows []row
	for _, callers := range callersOfSQL {
		plain := named("INSERT, UPDATE", callers)
		rows = append(rows,
			row{name: plain, sample: byCallers(callers, s.fresh(plainPair))},
			row{name: named("the same, "+k.hasty, callers), against: plain, sample: byCallers(callers, s.hastily)},
			row{
				name: named(k.store+", fresh", callers), against: plain,
				sample: byCallers(callers, s.fresh(pair)), targets: atLeast(k.fresh[callers]),
			},
		)
	}
	const callers = 16
	rows = append(rows, row{
		name: named(k.store+", fresh, AuditTransitions", callers), against: named(k.store+", fresh", callers),
		sample: byCallers(callers, s.fresh(auditedPair)),
	})
	t := k.table("", k.store+" against plain statements; fresh is one Acquire and one Complete", rows)
	t.begin = s.begin(t)
	return t
}

func (k *sqlTables) replays() *table {
	s := &shared{open: k.openQuiet}
	look := func(d *database, n int) error { return d.plain.replay(n) }
	again := func(d *database, n int) error { return d.store.replay(n) }
	var rows []row
	for _, callers := range callersOfSQL {
		plain := named("SELECT", callers)
		rows = append(rows,
			row{name: plain, sample: byCallers(callers, s.replay(look))},
			row{
				name: named(k.store+", replay", callers), against: plain,
				sample: byCallers(callers, s.replay(again)), targets: append(atLeast(k.replay[callers]), k.nothingLogged...),
			},
		)
	}
	t := k.table("-replay", k.store+" against a SELECT by primary key; a replay is one Acquire", rows)
	t.begin = s.begin(t)
	return t
}

func (k *sqlTables) transactions() *table {
	s := &shared{open: k.open}
	alone := func(d *database, n int) error { return d.effect(n) }
	three := func(d *database, n int) error { return d.three(n) }
	doOnce := func(d *database, n int) error { return d.doOnce(n) }
	doTx := func(d *database, n int) error { return d.doTx(n) }
	var rows []row
	for _, callers := range callersOfSQL {
		effect := named("INSERT of the operation alone", callers)
		rows = append(rows,
			row{name: effect, sample: byCallers(callers, s.fresh(alone))},
			row{name: named("three commits, plain", callers), against: effect, sample: byCallers(callers, s.fresh(three))},
			row{name: named("three commits, Do on "+k.store, callers), against: effect, sample: byCallers(callers, s.fresh(doOnce))},
			row{
				name: named("DoTx", callers), against: effect,
				sample: byCallers(callers, s.fresh(doTx)), targets: atLeast(k.tx[callers]),
			},
		)
	}
	t := k.table("-tx", "an operation that is one INSERT, with "+k.store, rows)
	t.begin = s.begin(t)
	return t
}

// atLeast is no target where nobody asks.
func atLeast(ratio float64) []target {
	if ratio == 0 {
		return nil
	}
	return []target{speed(ratio)}
}
