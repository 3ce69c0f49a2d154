// Package archtest states, as a test, which package may import which. The table is in policy_test.go.
package archtest
