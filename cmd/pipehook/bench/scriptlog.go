package main

import (
	"context"
	"fmt"
)

// scriptBacklogs measures how fast what waits on disk is handled by a script, against a function in
// Go in the same run, with one core and with all.
func (b *bench) scriptBacklogs(ctx context.Context, stores []string, path string) error {
	fmt.Printf("\n%-44s %14s %9s %9s\n", fmt.Sprintf("a backlog of %d, 4 at a time", b.backlog), "deliveries/s", "CPU µs", "of Go")
	for _, store := range stores {
		for _, cores := range []int{1, 0} {
			if err := b.scriptBacklog(ctx, store, path, cores); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) scriptBacklog(ctx context.Context, store, path string, cores int) error {
	names, whats := []string{"go"}, []string{"0s"}
	for _, where := range isolations {
		names, whats = append(names, where.name), append(whats, where.name+"="+path)
	}
	url, db, err := b.filled(ctx, store, b.backlog, names)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	var base float64
	for i, name := range names {
		rate, cpu, _, err := b.drain(ctx, url, db, contest{listener: name, order: "none", what: whats[i], processes: 1, cores: cores})
		if err != nil {
			return err
		}
		label := label(store) + ", a function in Go"
		if i == 0 {
			base = rate
		} else {
			label = "  a script " + isolations[i-1].label
		}
		if cores == 1 {
			label += ", one core"
		}
		fmt.Printf("%-44s %14.0f %9.0f %8.0f%%\n", label, rate, float64(cpu.Microseconds()), 100*rate/base)
	}
	return nil
}
