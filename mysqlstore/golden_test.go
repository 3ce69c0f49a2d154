package mysqlstore

import (
	"os"
	"testing"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/golden"
	"github.com/onceward/onceward/internal/testsvc"
)

func TestRowsOfEveryEncoding(t *testing.T) {
	for _, file := range []string{"testdata/rows-1.sql"} {
		s := openAt(t, testsvc.SharedMariaDB(t).URL, nil)
		rows, err := os.ReadFile(file)
		check.NoError(t, err, "reading")
		execute(t, s, string(rows))
		golden.Rows(t, s)
	}
}
