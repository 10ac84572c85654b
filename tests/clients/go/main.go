// The command runs amqp091-go against a broker, case by case, and prints
// "ok <case>" or "not ok <case> - <reason>" for each.
package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

const (
	clientModule = "github.com/rabbitmq/amqp091-go"
	defaultLimit = 30 * time.Second
)

type testCase struct {
	name  string
	limit time.Duration
	body  func(t *T)
}

func clientVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, module := range info.Deps {
		if module.Path == clientModule {
			return strings.TrimPrefix(module.Version, "v")
		}
	}
	return "unknown"
}

// bounded runs f in a goroutine of its own and reports how it failed, if it
// did; a run longer than limit is a failure too.
func bounded(t *T, what string, limit time.Duration, f func(*T)) string {
	done := make(chan string, 1)
	go func() {
		finished := false
		defer func() {
			switch p := recover(); {
			case p != nil:
				done <- fmt.Sprintf("%s: panic: %v", what, p)
			case t.failure != "":
				done <- t.failure
			case !finished:
				done <- what + " ended early"
			default:
				done <- ""
			}
		}()
		f(t)
		finished = true
	}()
	select {
	case reason := <-done:
		return reason
	case <-time.After(limit):
		return fmt.Sprintf("%s: not finished within %v", what, limit)
	}
}

func main() {
	if err := loadBroker(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	only := os.Args[1:]
	failed := 0
	fmt.Println("client amqp091-go", clientVersion())
	for _, c := range cases {
		if len(only) > 0 && !slices.Contains(only, c.name) {
			continue
		}
		limit := c.limit
		if limit == 0 {
			limit = defaultLimit
		}
		t := &T{}
		reason := bounded(t, "case", limit, c.body)
		// A case that hangs still runs, so the clean-up has a T of its own.
		sweep := &T{}
		if problem := bounded(sweep, "clean-up", defaultLimit, t.cleanUp); reason == "" {
			reason = problem
		}
		if reason == "" {
			fmt.Println("ok", c.name)
			continue
		}
		failed++
		fmt.Printf("not ok %s - %s\n", c.name, strings.Join(strings.Fields(reason), " "))
	}
	if failed > 0 {
		os.Exit(1)
	}
}
