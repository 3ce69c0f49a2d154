// Onceward makes retries safe: a sidecar for any HTTP service, and a demo to try it on.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/onceward/onceward/cmd/onceward/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(cli.Main(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
