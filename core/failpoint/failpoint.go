// Package failpoint ends the process at named places, so that a test can find out what a kill
// there leaves behind. It does so only in a program built with the tag failpoint, when the
// environment variable PIPEHOOK_FAILPOINT says name:n: the nth passing of that point is the last
// thing that happens. In any other program a point is nothing at all. It knows none of the parts
// in which the points stand.
package failpoint

// Env names the variable.
const Env = "PIPEHOOK_FAILPOINT"

// Point is a place.
type Point string

// The points, in about the order in which an event passes them.
const (
	BodyRead    Point = "body-read"     // all of a request's body is in memory
	BeforeTx    Point = "before-tx"     // a batch is about to be written
	AfterInsert Point = "after-insert"  // its rows are written (SQLite only)
	BeforeEnd   Point = "before-commit" // all of its transaction but the commit (SQLite only)
	AfterCommit Point = "after-commit"  // its transaction is on disk
	BeforeReply Point = "before-answer"
	AfterReply  Point = "after-answer" // the answer is written, perhaps not sent

	SpoolWritten Point = "spool-written" // an event is in the spool's file, not surely on disk
	SpoolSynced  Point = "spool-synced"
	SpoolGiven   Point = "spool-given" // the store has some of the spool's events
	SpoolEnd     Point = "spool-end"   // the store has all of a file of the spool, which is about to be deleted

	Claim         Point = "claim"          // a delivery has been chosen to run
	AttemptNoted  Point = "attempt-noted"  // the journal says that it runs
	BeforeHandler Point = "before-handler" // the listener is about to be called
	InHandler     Point = "in-handler"     // a script has logged a line
	AfterHandler  Point = "after-handler"  // the listener has returned
	Retry         Point = "retry"          // a failed attempt is to be made again
	DeadLetter    Point = "dead-letter"    // a failed attempt was the last
	BeforeResult  Point = "before-result"  // results are about to be written
	AfterResult   Point = "after-result"   // results are on disk

	Migration Point = "migration"        // the schema is about to take its next step
	Retention Point = "retention-delete" // old events are deleted, the commit is still to come
	Reload    Point = "reload-swap"      // half of a new configuration is taken
	Replay    Point = "replay-batch"     // some deliveries are to be made again, the commit is still to come
)

// All lists the points.
func All() []Point {
	return []Point{
		BodyRead, BeforeTx, AfterInsert, BeforeEnd, AfterCommit, BeforeReply, AfterReply,
		SpoolWritten, SpoolSynced, SpoolGiven, SpoolEnd,
		Claim, AttemptNoted, BeforeHandler, InHandler, AfterHandler, Retry, DeadLetter, BeforeResult, AfterResult,
		Migration, Retention, Reload, Replay,
	}
}
