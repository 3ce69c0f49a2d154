package migration

import (
	"fmt"
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"github.com/onceward/onceward/internal/check"
)

// three are as many versions. The name of one has the character that ends a number.
func three() fstest.MapFS {
	files := make(fstest.MapFS)
	for _, name := range []string{"0001_one", "0002_a_second", "0010_ten"} {
		files["migrations/"+name+".up.sql"] = &fstest.MapFile{Data: []byte("make " + name)}
		files["migrations/"+name+".down.sql"] = &fstest.MapFile{Data: []byte("drop " + name)}
	}
	return files
}

var noon = time.Date(2026, 2, 3, 12, 0, 0, 0, time.UTC)

func at(versions ...int) Applied {
	a := make(Applied)
	for _, version := range versions {
		a[version] = noon
	}
	return a
}

func TestList(t *testing.T) {
	want := []Migration{{Version: 1, Name: "one", Applied: noon}, {Version: 2, Name: "a_second"}, {Version: 10, Name: "ten"}}
	check.Equal(t, at(1, 11).List(three()), want, "migrations of which the first is applied")
	check.Equal(t, len(Applied(nil).List(three())), 3, "migrations of which none is applied")
}

func TestNext(t *testing.T) {
	for _, c := range []struct {
		applied Applied
		to      int
		want    string
	}{
		{nil, 10, "1 one: 0001_one.up.sql: make 0001_one"},
		{at(1), 10, "2 a_second: 0002_a_second.up.sql: make 0002_a_second"},
		{at(1, 2), 10, "10 ten: 0010_ten.up.sql: make 0010_ten"},
		{at(1, 2, 10), 10, ""},
		{at(1), 1, ""},
		{at(2), 2, "1 one: 0001_one.up.sql: make 0001_one"}, // a step that was interrupted
		{at(1, 2, 10), 1, "10 ten: 0010_ten.down.sql: drop 0010_ten"},
		{at(1, 2), 1, "2 a_second: 0002_a_second.down.sql: drop 0002_a_second"},
		{at(1, 11), 1, ""}, // nobody here knows how to take that back
		{at(2), 1, "1 one: 0001_one.up.sql: make 0001_one"},
		{at(1), 0, "1 one: 0001_one.down.sql: drop 0001_one"},
		{nil, 0, ""},
	} {
		got := ""
		next, ok := c.applied.Next(three(), c.to)
		if ok {
			got = fmt.Sprintf("%d %s: %s: %s", next.Version, next.Name, next.File, next.Statements)
		}
		check.Equal(t, got, c.want, "the next step to %d, with %v", c.to, c.applied)
		check.True(t, next.Applied.IsZero(), "the next step to %d, with %v, is said to be applied", c.to, c.applied)
	}
}

func TestCheck(t *testing.T) {
	words := Words{None: "there is nothing", Have: "they have"}
	for _, c := range []struct {
		applied Applied
		want    string
	}{
		{nil, "there is nothing, version 2 is wanted: run onceward migrate up --store URL"},
		{at(1), "they have version 1, version 2 is wanted: run onceward migrate up --store URL"},
		{at(2), "they have version 2, version 2 is wanted: run onceward migrate up --store URL"},
		{at(1, 2), fmt.Sprint(nil)},
		{at(3), "they have version 3, of a later release; version 2 is wanted: use that release, or its onceward migrate down"},
		{
			at(1, 2, 3, 4, 5, 6, 7, 8, 9),
			"they have version 9, of a later release; version 2 is wanted: use that release, or its onceward migrate down",
		},
	} {
		check.Equal(t, fmt.Sprint(c.applied.Check(2, words)), c.want, "what is said of %v", c.applied)
	}
}

// Files are a part of the program: one that is wrong must not go unnoticed.
func TestWrongFiles(t *testing.T) {
	for what, wrong := range map[string]func(files fstest.MapFS){
		"a version that is no number": func(files fstest.MapFS) { files["migrations/four_4.up.sql"] = new(fstest.MapFile) },
		"no way back":                 func(files fstest.MapFS) { delete(files, "migrations/0010_ten.down.sql") },
	} {
		files := three()
		wrong(files)
		check.True(t, panics(files), "%s was passed over", what)
	}
}

func panics(files fs.FS) (panicked bool) {
	defer func() { panicked = recover() != nil }()
	at(1, 2, 10).Next(files, 0)
	return
}
