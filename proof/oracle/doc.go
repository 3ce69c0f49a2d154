// Package oracle compares what onceward reads with what others read who implemented the same RFCs.
//
// It has tests only. Each difference is stated here, as a rule or as a row of a table, with the side that the RFC is on; a
// difference that is not stated fails a test, and so does one that is stated and gone.
package oracle
