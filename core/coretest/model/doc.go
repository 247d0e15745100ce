// Package model holds a test of what delivery promises, and nothing else: random sequences of sends,
// crashes, restarts, failures, replays, pauses and reloads run against the real engine over both real
// stores, and against a reference model of plain maps and slices that is right at a glance.
//
// On SQLite a sequence runs in a bubble of testing/synctest: time moves only when nothing else can,
// so a step has ended exactly when every goroutine waits, and hours pass at once. A server on the
// network can't be in a bubble, so on PostgreSQL the test waits for what the model demands, and
// the clocks of the database and the engine are moved together.
//
// A handler call stays open until the test lets it end, unless its event has a script, so reloads,
// crashes and cancellations meet attempts that run. Two valves lead to moments that are rare
// otherwise: one keeps what the engine reads from reaching it, the other keeps its results from
// reaching the store.
//
// Beside the flags of rapid (-rapid.checks, -rapid.steps, -rapid.seed, -rapid.failfile) there is
// nothing to set; on PostgreSQL a quarter of the checks is made. make model is the long form.
package model
