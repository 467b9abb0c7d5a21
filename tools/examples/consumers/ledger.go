// Keeps a ledger of all runs that have ended, a line of JSON each, by way of `maestro events tail`.
//
//	go run ledger.go GROUP FILE [LIMIT]
//
// Nothing is lost and nothing stands there twice, whichever of the two processes is killed when: the line is on the disk
// before its event is acknowledged, and an event that comes again, as it is in the file already, is passed over.
// Stop it by SIGTERM or Ctrl-C. Go 1.18 or later; `maestro` is on PATH. LIMIT: end after so many events.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

const (
	storeAway = 5 // the exit code of a command that finds no store, or whose daemon ends
	pauseMin  = 250 * time.Millisecond
	pauseMax  = 30 * time.Second
)

// event is what is needed of an event of the log.
type event struct {
	Seq     int64  `json:"seq"`
	Time    string `json:"time"`
	Subject string `json:"subject"`
	Data    struct {
		Outcome *string `json:"outcome"`
	} `json:"data"`
}

// entry is a line of the ledger.
type entry struct {
	Seq     int64   `json:"seq"`
	Time    string  `json:"time"`
	Run     string  `json:"run"`
	Outcome *string `json:"outcome"`
}

// ledger is the file, and the seq of its last line.
type ledger struct {
	file    *os.File
	written int64
}

// open opens a ledger. What a crash has left of a line at its end is removed.
func open(path string) (*ledger, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(file)
	if err != nil {
		return nil, err
	}
	end := bytes.LastIndexByte(text, '\n') + 1
	if err := file.Truncate(int64(end)); err != nil {
		return nil, err
	}
	var last entry
	if lines := bytes.TrimRight(text[:end], "\n"); len(lines) > 0 {
		if err := json.Unmarshal(lines[bytes.LastIndexByte(lines, '\n')+1:], &last); err != nil {
			return nil, err
		}
	}
	return &ledger{file, last.Seq}, nil
}

// keep writes what is to be kept of an event, once.
func (l *ledger) keep(e event) error {
	if e.Seq <= l.written {
		return nil
	}
	line, err := json.Marshal(entry{e.Seq, e.Time, e.Subject, e.Data.Outcome})
	if err != nil {
		return err
	}
	if _, err := l.file.Write(append(line, '\n')); err != nil {
		return err
	}
	l.written = e.Seq
	return l.file.Sync()
}

// follow follows a group until the command ends; its exit code. Cancelled, it ends the command: what that has not been
// told to have taken comes again next time.
func (l *ledger) follow(ctx context.Context, group string, limit []string) (int, error) {
	words := []string{"events", "tail", "--group", group, "--follow", "--acknowledge", "--type", "run.ended"}
	words = append(words, "--format", "json")
	tail := exec.CommandContext(ctx, "maestro", append(words, limit...)...)
	tail.Stderr = os.Stderr
	in, err := tail.StdinPipe()
	if err != nil {
		return 0, err
	}
	out, err := tail.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := tail.Start(); err != nil {
		return 0, err
	}
	for events := bufio.NewReader(out); ; {
		line, err := events.ReadBytes('\n')
		if err != nil { // it has ended: its exit code says why
			break
		}
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			return 0, err
		}
		if err := l.keep(e); err != nil {
			return 0, err
		}
		fmt.Fprintln(in, e.Seq)
	}
	err = tail.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

func run() (int, error) {
	if len(os.Args) < 3 {
		return 2, errors.New("usage: ledger GROUP FILE [LIMIT]")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	l, err := open(os.Args[2])
	if err != nil {
		return 1, err
	}
	defer l.file.Close()
	var limit []string
	if len(os.Args) > 3 {
		limit = []string{"--limit", os.Args[3]}
	}
	for pause := pauseMin; ; pause = min(2*pause, pauseMax) {
		before := l.written
		code, err := l.follow(ctx, os.Args[1], limit)
		if ctx.Err() != nil {
			return 0, nil
		}
		if err != nil || code != storeAway {
			return code, err
		}
		if l.written > before {
			pause = pauseMin
		}
		select {
		case <-ctx.Done():
			return 0, nil
		case <-time.After(pause):
		}
	}
}

func min(a, b time.Duration) time.Duration {
	if a < b {
		return a
	}
	return b
}

func main() {
	code, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		if code == 0 {
			code = 1
		}
	}
	os.Exit(code)
}
