// Package migration knows the versions that the tables of a store go through: which there are, which of them a database has,
// which step comes next, and whether a store can work with what it finds. How a step is made is for the store to know.
package migration

import (
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Migration is a step to a version, from the one before it.
type Migration struct {
	Version int
	Name    string
	// Applied is when it was, by the server's clock; zero if it is not.
	Applied time.Time
}

// Applied says of the versions that a database has when they were applied, by the server's clock.
type Applied map[int]time.Time

const folder = "migrations/"

// List returns all migrations of a store in order. Their files are NNNN_name.up.sql and NNNN_name.down.sql in a folder
// migrations. They are embedded, so one that has another name, or is missing, is a mistake in the program: it panics.
func (a Applied) List(files fs.FS) (all []Migration) {
	found, err := fs.Glob(files, folder+"*.up.sql")
	if err != nil {
		panic(err)
	}
	for _, file := range found {
		number, name, _ := strings.Cut(strings.TrimPrefix(file, folder), "_")
		version, err := strconv.Atoi(number)
		if err != nil {
			panic(err)
		}
		all = append(all, Migration{version, strings.TrimSuffix(name, ".up.sql"), a[version]})
	}
	return all
}

// Step is a migration that is to be applied, or taken back.
type Step struct {
	Migration // not applied

	File       string // without its folder
	Statements string
}

// Next returns the next step on the way to a version, if it is not the end of it. The files are as for List.
func (a Applied) Next(files fs.FS, to int) (next Step, ok bool) {
	all := a.List(files)
	for _, m := range all {
		if m.Version <= to && m.Applied.IsZero() {
			return newStep(files, m, "up"), true
		}
	}
	for _, m := range slices.Backward(all) {
		if m.Version > to && !m.Applied.IsZero() {
			return newStep(files, m, "down"), true
		}
	}
	return next, false
}

func newStep(files fs.FS, m Migration, direction string) Step {
	m.Applied = time.Time{}
	file := fmt.Sprintf("%04d_%s.%s.sql", m.Version, m.Name, direction)
	text, err := fs.ReadFile(files, folder+file)
	if err != nil {
		panic(err)
	}
	return Step{m, file, string(text)}
}

// Words are what a store says of its tables.
type Words struct {
	None string // such as: pgstore: there are no tables in the schema "shop"
	Have string // such as: pgstore: the schema "shop" has
}

const advice = "run onceward migrate up --store URL"

// Check returns an error, which says what to do, unless a database has all versions up to the latest that a store knows. What a
// later release left behind is refused too: it may keep what this release would not look at.
func (a Applied) Check(latest int, w Words) error {
	newest := 0
	for version := range a {
		newest = max(newest, version)
	}
	switch {
	case newest == 0:
		return fmt.Errorf("%s, version %d is wanted: %s", w.None, latest, advice)
	case newest > latest:
		return fmt.Errorf("%s version %d, of a later release; version %d is wanted: use that release, or its onceward migrate down",
			w.Have, newest, latest)
	case newest < latest || len(a) < latest:
		return fmt.Errorf("%s version %d, version %d is wanted: %s", w.Have, newest, latest, advice)
	}
	return nil
}
