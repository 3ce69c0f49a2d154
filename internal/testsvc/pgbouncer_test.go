package testsvc

import (
	"testing"

	"github.com/onceward/onceward/internal/check"
)

// A session that PgBouncer gives away after each transaction is not the client's.
func TestPgBouncer(t *testing.T) {
	server := Postgres(t).Database()
	front := PgBouncer(t, server)
	front.service.client, front.service.sql = postgres.client, postgres.sql
	check.True(t, len(front.execute("SELECT current_database()")) > 0, "nothing answered")
	front.Kill()
	_, err := front.tryExecute("SELECT 1")
	check.True(t, err != nil, "a PgBouncer that was killed answers")
	front.Restart()
	front.execute("SELECT 1")
}
