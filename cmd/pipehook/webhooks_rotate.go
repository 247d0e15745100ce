package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive/hooks"
	"github.com/pipehook/pipehook/core/rotation"
	"github.com/pipehook/pipehook/core/store"
)

const rotateHelp = `Give the webhooks that come here another password of HTTP Basic, without refusing one of them.

The new password is made at random, or comes from --auth-pass-file or --prompt. The servers learn its salted
hash from the store and take both; then each webhook is made anew with it and the old one deleted; what happens
between the two comes twice. Once the new password was used the old one is refused, four minutes later, when the
last retry of an old webhook is over.

Where the configuration has the password from .env it is written there; else it is shown once, on the terminal
only. When something fails in the middle, both stay good: run it again.`

// leastPassword is how long a password is that a fast hash protects.
const leastPassword = 16

// knownWithin is how long a server has to take notice of a rotation.
const knownWithin = 15 * time.Second

const takeBackWithin = 5 * time.Second

type rotateFlags struct {
	status, prompt, yes bool
	authPassFile        string
}

func (c *cli) webhooksRotateCommand() *cobra.Command {
	var f rotateFlags
	cmd := &cobra.Command{
		Use: "rotate", Short: "Change the password of the webhooks that come here", Args: cobra.NoArgs, Long: rotateHelp,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			r, err := c.registrar(!f.status)
			if err != nil {
				return err
			}
			if r.basic == nil {
				return usagef("give an authenticate stage basic = { username = …, password = … }", "the pipeline asks for no HTTP Basic, so there is no password to change")
			}
			m, err := store.OpenManager(cmd.Context(), storeURL(r.conf))
			if err != nil {
				return err
			}
			defer func() { err = joinClose(err, m.Close) }()
			st, err := rotation.Load(cmd.Context(), m, r.pipeline.Name)
			if err != nil {
				return err
			}
			if f.status {
				return c.printRotation(r, st)
			}
			return c.rotate(cmd.Context(), r, m, st, f)
		},
	}
	cmd.Flags().BoolVar(&f.status, "status", false, "only say which password is in use, and when the old one was last used")
	cmd.Flags().BoolVar(&f.prompt, "prompt", false, "ask for the new password instead of making one")
	cmd.Flags().StringVar(&f.authPassFile, "auth-pass-file", "", "a file that holds the new password")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
	return cmd
}

// turn is one run of rotate.
type turn struct {
	*registrar
	states   rotation.States
	rotation rotation.Rotation
	password core.Secret
	shown    bool // the password must be shown, as nobody else knows it
}

func (c *cli) rotate(ctx context.Context, r *registrar, s rotation.States, st *rotation.Status, f rotateFlags) error {
	has, err := r.webhooks(ctx)
	if err != nil {
		return err
	}
	has, left := r.parted(has)
	slices.SortFunc(has, func(a, b hooks.Webhook) int { return cmp.Compare(a.ID, b.ID) }) // what was made in the place of another comes after it
	if len(has) == 0 {
		return usagef("pipehook webhooks create --auto-config", "no webhook of the account comes to this pipeline, so nothing would use a new password")
	}
	if err := r.alone(); err != nil {
		return err
	}
	t := &turn{registrar: r, states: s}
	if err := c.choosePassword(ctx, t, st, f); err != nil {
		return err
	}
	t.goOn(st, has)
	for _, h := range left {
		fmt.Fprintf(c.stderr, "warning: webhook %d (%s to %s) has the same username and keeps the old password; if it comes to pipeline %s too, it is refused after the change\n", h.ID, h.Event.Named(h.Version), plain(h.URL), r.pipeline.Name)
	}
	sure, err := c.confirm(ctx, f.yes, fmt.Sprintf("make %s anew with another password", count(len(t.rotation.Waiting), "webhook")))
	if err != nil || !sure {
		return declined(err)
	}
	if err := t.save(ctx); err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	if err := c.awaitServers(ctx, t); err != nil {
		return t.takenBack(ctx, st, err)
	}
	if err := c.handOut(t); err != nil {
		err = fmt.Errorf("no webhook was changed: the new password could not be handed out: %w", err)
		return t.takenBack(ctx, st, &hinted{err, "pipehook webhooks rotate"})
	}
	if err := t.replaceAll(ctx, has); err != nil {
		return &hinted{fmt.Errorf("%w; made anew: %v, still with the old password: %v; both passwords are good", err, t.rotation.Made, t.rotation.Waiting), "set " + r.passwordPlace() + " to the new password where it is not, then: pipehook webhooks rotate"}
	}
	return c.printRotated(t)
}

// parted are the webhooks that get the new password, and those that seem to use the old one and can't be given it: an
// automation's own, and what comes by another address.
func (r *registrar) parted(has []hooks.Webhook) (ours, left []hooks.Webhook) {
	for _, h := range has {
		switch {
		case r.ours(h.URL) && h.Type != "automation":
			ours = append(ours, h)
		case h.Active && h.AuthUser == r.basic.Username:
			left = append(left, h)
		}
	}
	return ours, left
}

// alone refuses a password that something else has from the same variable: that would ask for the new one at once, and
// refuse whoever sends the old one there.
func (r *registrar) alone() error {
	key := r.basicKey + ".password"
	v, ok := r.conf.Variable(key)
	if !ok {
		return nil
	}
	others := slices.DeleteFunc(r.conf.Uses(v.Name), func(use string) bool { return use == key })
	if len(others) == 0 {
		return nil
	}
	return usagef("give each a variable of its own, then: pipehook webhooks rotate", "%s is %s too, which would change with it", v.Name, strings.Join(others, " and "))
}

// takenBack leaves nothing of a rotation that was begun for nothing: nobody has its password. One that goes on may
// have changed webhooks, and stays.
func (t *turn) takenBack(ctx context.Context, before *rotation.Status, err error) error {
	if before != nil && before.ID == t.rotation.ID {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBackWithin)
	defer cancel()
	if failed := t.rotation.TakeBack(ctx, t.states, t.pipeline.Name, before); failed != nil {
		return &hinted{fmt.Errorf("%w; that a change was begun could not be taken back (%w)", err, failed), cmp.Or(hintOf(err), "pipehook webhooks rotate")}
	}
	return err
}

func (t *turn) save(ctx context.Context) error {
	return t.rotation.Save(ctx, t.states, t.pipeline.Name)
}

// choosePassword goes on with a rotation that was not finished when its password is at hand, else begins one.
func (c *cli) choosePassword(ctx context.Context, t *turn, st *rotation.Status, f rotateFlags) (err error) {
	configured := t.configured()
	open := st != nil && st.ReplacedAt.IsZero()
	switch {
	case f.authPassFile != "" && f.prompt:
		return usagef("", "give --auth-pass-file or --prompt, not both")
	case f.authPassFile != "":
		t.password, err = passwordFile(f.authPassFile)
	case f.prompt && c.asker() == nil:
		return usagef("pipehook webhooks rotate --auth-pass-file FILE", "there is no terminal to ask at")
	case f.prompt:
		t.password, err = c.asker().secret(ctx, "new password of HTTP Basic")
	case open && st.New.Is(configured[0].Username, string(configured[0].Password)):
		t.password = configured[0].Password
	default:
		t.password, t.shown = core.Secret(rand.Text()+rand.Text()), true
	}
	if err != nil {
		return err
	}
	if len(t.password) < leastPassword {
		return usagef("leave it out, and one is made at random", "the password is shorter than %d characters", leastPassword)
	}
	if v, ok := t.conf.Variable(t.basicKey + ".password"); t.shown && !(ok && v.Dotenv) && !terminal(c.stderr) {
		return usagef("pipehook webhooks rotate --auth-pass-file FILE", "the new password can't be written to %s, and there is no terminal to show it on", t.passwordPlace())
	}
	if open && st.New.Is(t.basic.Username, string(t.password)) {
		t.rotation, t.shown = st.Rotation, false
		fmt.Fprintf(c.stderr, "going on with the change that began %s\n", st.StartedAt.Local().Format(time.DateTime))
		return nil
	}
	if st != nil && st.New.Is(t.basic.Username, string(t.password)) || slices.ContainsFunc(configured, func(one rotation.Credential) bool { return one.Password == t.password }) {
		return usagef("", "the new password is the one in use")
	}
	t.rotation = st.Begin(t.basic.Username, t.password, configured, time.Now())
	return nil
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// awaitServers waits until the servers take the new password: before that Pipedrive must not send it.
func (c *cli) awaitServers(ctx context.Context, t *turn) error {
	fmt.Fprintln(c.stderr, "waiting until the servers take the new password…")
	within, cancel := context.WithTimeout(ctx, knownWithin)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		st, err := rotation.Load(within, t.states, t.pipeline.Name)
		if err == nil && st != nil && st.ID == t.rotation.ID && !st.Known.IsZero() {
			break
		}
		select {
		case <-within.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			none := errors.New("no server has taken notice of the new password, so nothing was changed; the old one is good")
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				none = fmt.Errorf("%w (%w)", none, err)
			}
			return &hinted{none, "start pipehook serve with this configuration, then: pipehook webhooks rotate"}
		case <-tick.C:
		}
	}
	if !sharedStore(t.conf) {
		return nil
	}
	select { // the other replicas look as often
	case <-time.After(2 * rotation.Every):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// handOut puts the new password where the configuration has it from, or shows it.
func (c *cli) handOut(t *turn) error {
	if t.password == t.basic.Password {
		return nil // it is there, from the time before
	}
	if v, ok := t.conf.Variable(t.basicKey + ".password"); ok && v.Dotenv {
		if err := setDotenv(beside(t.conf, ".env"), v.Name, t.password); err != nil {
			return err
		}
		fmt.Fprintf(c.stderr, "%s in .env has the new password\n", v.Name)
		return nil
	}
	fmt.Fprintf(c.stderr, "set %s to the new password and reload\n", t.passwordPlace())
	if t.shown {
		fmt.Fprintf(c.stderr, "it is shown this once: %s\n", string(t.password))
	}
	return nil
}

// goOn takes over what an unfinished change has done. A webhook that it may have made and could not note may be
// somebody else's with the old password, which nobody can see: it brings the events of the one that it stands for, and is
// made anew itself.
func (t *turn) goOn(st *rotation.Status, has []hooks.Webhook) {
	if st == nil || !st.ReplacedAt.IsZero() {
		st = &rotation.Status{} // there is none
	}
	r := &t.rotation
	r.Replaced, r.Waiting = map[int64]int64{}, nil
	for _, h := range has {
		known := slices.Contains(st.Waiting, h.ID) || slices.Contains(st.Made, h.ID)
		for _, old := range has {
			made, noted := st.Replaced[old.ID]
			lost := old.ID == st.Making && !noted && !known && r.Replaced[old.ID] == 0 && t.anew(old) == t.anew(h)
			if made == h.ID || lost {
				r.Replaced[old.ID] = h.ID
			}
		}
	}
	for _, h := range has {
		if !slices.Contains(r.Made, h.ID) {
			r.Waiting = append(r.Waiting, h.ID)
		}
	}
}

// anew is a webhook as it is made for another password.
func (t *turn) anew(h hooks.Webhook) hooks.Wanted {
	return named(hooks.Wanted{Event: h.Event, Name: h.Name, URL: h.URL, Version: h.Version, User: h.User, AuthUser: t.basic.Username})
}

// replaceAll makes each webhook anew before it deletes the old one, and keeps how far it has come. The one that it is at is
// finished even if the command is to end.
func (t *turn) replaceAll(ctx context.Context, has []hooks.Webhook) error {
	on, cancel := finishing(ctx)
	defer cancel()
	for _, h := range has {
		if !slices.Contains(t.rotation.Waiting, h.ID) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := t.replace(on, h); err != nil {
			return err
		}
		t.rotation.Waiting = slices.DeleteFunc(t.rotation.Waiting, func(id int64) bool { return id == h.ID })
	}
	t.rotation.ReplacedAt = time.Now()
	return t.save(on)
}

// replace does one of replaceAll.
func (t *turn) replace(ctx context.Context, h hooks.Webhook) error {
	id, done := t.rotation.Replaced[h.ID]
	if !done {
		t.rotation.Making = h.ID
		if err := t.save(ctx); err != nil {
			return fmt.Errorf("webhook %d was not made anew, as that can't be kept: %w", h.ID, err)
		}
		made, err := t.register(ctx, t.anew(h), t.password)
		if err != nil {
			return fmt.Errorf("webhook %d was not made anew: %w", h.ID, err)
		}
		id = made.ID
		t.rotation.Made, t.rotation.Replaced[h.ID] = append(t.rotation.Made, id), id
	}
	if !done {
		if err := t.save(ctx); err != nil {
			return fmt.Errorf("webhook %d was made in the place of %d, which is not kept: %w", id, h.ID, err)
		}
	}
	if err := t.remove(ctx, h.ID); err != nil {
		return fmt.Errorf("webhook %d was made, but %d not deleted: %w", id, h.ID, err)
	}
	return nil
}

func (c *cli) printRotated(t *turn) error {
	if c.json {
		return c.printJSON(map[string]any{"made": t.rotation.Made, "startedAt": t.rotation.StartedAt.UTC(), "replacedAt": t.rotation.ReplacedAt.UTC()})
	}
	_, err := fmt.Fprintf(c.stdout, "%s made anew. The old password is refused %s after the new one was first used: pipehook webhooks rotate --status\n", count(len(t.rotation.Made), "webhook"), rotation.Grace)
	return err
}
