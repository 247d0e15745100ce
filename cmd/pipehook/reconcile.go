package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/mirror"
	"github.com/pipehook/pipehook/core/strict"
)

// reconcilePath is where the process that serves compares Pipedrive with the local tables when it is told to.
const reconcilePath = "/api/v1/pipedrive/reconcile"

// reconcileAsk is what it is told. Names are only added.
type reconcileAsk struct {
	Objects []string  `json:"objects,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Deletes bool      `json:"deletes,omitempty"`
	DryRun  bool      `json:"dryRun,omitempty"`

	Account string `json:"account,omitempty"` // and store: for which it is asked; another is refused
	Store   string `json:"store,omitempty"`
}

// reconcileLine is a line of its answer: how far it has come, or at last one of the others.
type reconcileLine struct {
	Progress *mirror.Progress `json:"progress,omitempty"`
	Report   *mirror.Report   `json:"report,omitempty"`
	Error    string           `json:"error,omitempty"`
	Hint     string           `json:"hint,omitempty"`
}

func (a reconcileAsk) options(progress func(mirror.Progress)) mirror.ReconcileOptions {
	return mirror.ReconcileOptions{Objects: a.Objects, Since: a.Since, Deletes: a.Deletes, DryRun: a.DryRun, Progress: progress}
}

// last answers with the report of the last comparison, of whatever process.
func (r *reconciling) last(w http.ResponseWriter, req *http.Request) {
	tables := r.a.tables.now()
	if tables == nil {
		writeError(w, http.StatusNotFound, "not_found", "no listener uses pipedrive_sync")
		return
	}
	report, err := tables.Last(req.Context())
	if err != nil {
		writeError(w, http.StatusServiceUnavailable, "unavailable", "the local tables can't be read now")
		return
	}
	writeJSON(w, http.StatusOK, report)
}

func writeError(w http.ResponseWriter, status int, code, msg string) {
	writeJSON(w, status, map[string]any{"error": map[string]string{"code": code, "message": msg}})
}

// ask compares and answers with a line for each second or so, and the report at last. It ends when the client goes away.
func (r *reconciling) ask(w http.ResponseWriter, req *http.Request) {
	var asked reconcileAsk
	if err := json.NewDecoder(http.MaxBytesReader(w, req.Body, 1<<16)).Decode(&asked); err != nil && !errors.Is(err, io.EOF) {
		writeError(w, http.StatusBadRequest, "malformed", "the body must be an object with objects, since, deletes, dryRun, account and store, of which all may be left out")
		return
	}
	if another := anotherThan(r.a.conf.Load(), asked.Account, asked.Store); another != "" {
		writeError(w, http.StatusConflict, "conflict", another)
		return
	}
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Time{}) // it takes as long as it takes
	_ = control.SetReadDeadline(time.Time{})
	w.Header().Set("Content-Type", "application/x-ndjson")
	lines := json.NewEncoder(w)
	said := time.Now()
	report, err := r.run(req.Context(), asked.options(func(p mirror.Progress) {
		if time.Since(said) < 200*time.Millisecond {
			return
		}
		said = time.Now()
		_ = lines.Encode(reconcileLine{Progress: &p}) // the client is gone: then the context ends
		_ = control.Flush()
	}))
	last := reconcileLine{Report: &report}
	if err = typeAgain(err, "pipehook reconcile"); err != nil {
		last = reconcileLine{Error: err.Error(), Hint: hintOf(err)}
	}
	_ = lines.Encode(last)
}

func (c *cli) reconcileCommand() *cobra.Command {
	var asked reconcileAsk
	var since sinceTime
	cmd := &cobra.Command{
		Use: "reconcile [OBJECT…]", Short: "Find what webhooks missed, and tell the listeners",
		Long:    "Compare a Pipedrive account with the local tables, and have an event walk the pipeline for each record that\ndiffers. The process that serves does it when there is one; else this one delivers the events as well.",
		Example: "  pipehook reconcile\n  pipehook reconcile deal --since 24h --dry-run\n  pipehook reconcile --deletes",
		RunE: func(cmd *cobra.Command, args []string) error {
			conf, err := c.loadServing(nil)
			if err != nil {
				return err
			}
			if err := keepsTables(conf); err != nil {
				return err
			}
			if err := checkObjects(args); err != nil {
				return err
			}
			asked.Objects, asked.Since = args, since.Time
			shown := c.newProgress("records compared", 0)
			report, err := c.reconcile(cmd.Context(), conf, asked, func(p mirror.Progress) { shown.at(p.Records) })
			shown.end()
			if err != nil {
				return err
			}
			if err := c.printReconcile(report); err != nil {
				return err
			}
			for _, o := range report.Objects {
				if o.Error != "" {
					return &hinted{errors.New("not all was compared"), "pipehook reconcile, which repeats it without harm"}
				}
			}
			return nil
		},
	}
	cmd.Flags().Var(&since, "since", "what changed since a date, or in the last …, such as 24h, instead of since the last comparison")
	cmd.Flags().BoolVar(&asked.Deletes, "deletes", false, "compare all ids too, and believe that many are gone")
	cmd.Flags().BoolVar(&asked.DryRun, "dry-run", false, "only count what differs")
	return cmd
}

// reconcile has the process that serves compare, or does it here when there is none.
func (c *cli) reconcile(ctx context.Context, conf *config.Config, asked reconcileAsk, progress func(mirror.Progress)) (*mirror.Report, error) {
	if conf.Admin.Listen != "" {
		report, there, err := askReconcile(ctx, conf, asked, progress, func() {
			fmt.Fprintf(c.stderr, "pipehook: the process that serves at %s compares\n", conf.Admin.Listen)
		})
		if there {
			return report, err
		}
	}
	return c.reconcileHere(ctx, conf, asked, progress)
}

// askReconcile asks who answers at admin.listen, and calls begun when that compares. there is false when nobody does.
func askReconcile(ctx context.Context, conf *config.Config, asked reconcileAsk, progress func(mirror.Progress), begun func()) (report *mirror.Report, there bool, err error) {
	asked.Account, asked.Store = conf.Pipedrive.Address(), storeName(conf)
	body, err := json.Marshal(asked)
	if err != nil {
		return nil, true, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+conf.Admin.Listen+reconcilePath, bytes.NewReader(body))
	if err != nil {
		return nil, true, err
	}
	if conf.Admin.Token != "" {
		req.Header.Set("Authorization", "Bearer "+string(conf.Admin.Token))
	}
	client := &http.Client{Transport: &http.Transport{}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return nil, ctx.Err() != nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case http.StatusOK:
		begun()
	case http.StatusConflict:
		return nil, true, &hinted{fmt.Errorf("who answers at admin.listen, %s, serves something else: %s", conf.Admin.Listen, errorText(resp.Body)), "pipehook reconcile --config with the file that it serves with"}
	case http.StatusUnauthorized:
		return nil, true, fmt.Errorf("who answers at admin.listen, %s, has another admin.token", conf.Admin.Listen)
	default:
		return nil, true, fmt.Errorf("who answers at admin.listen, %s, does not compare: it says %s", conf.Admin.Listen, resp.Status)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var line reconcileLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, true, fmt.Errorf("what is answered at admin.listen, %s, can't be read: %w", conf.Admin.Listen, err)
		}
		switch {
		case line.Progress != nil:
			progress(*line.Progress)
		case line.Error != "":
			return nil, true, &hinted{errors.New(line.Error), line.Hint}
		case line.Report != nil:
			return line.Report, true, nil
		}
	}
	return nil, true, errors.Join(errors.New("the process that serves ended before the comparison did"), lines.Err())
}

// reconcileHere serves without doors for as long as the comparison takes, and until its events are in the tables.
func (c *cli) reconcileHere(ctx context.Context, conf *config.Config, asked reconcileAsk, progress func(mirror.Progress)) (report *mirror.Report, err error) {
	inside := *conf
	inside.Server.Listen, inside.Admin.Listen = "", ""
	logs, err := openLogs(io.Discard, &inside)
	if err != nil {
		return nil, err
	}
	defer func() { err = joinClose(err, logs.close) }()
	a, err := newApp(ctx, &inside, parts{logs: logs, manager: managerOf(nil)})
	if isHeld(err) {
		return nil, &hinted{fmt.Errorf("%w, and it can't be asked", err), "set admin.listen where pipehook serves, or stop it"}
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = joinClose(err, a.close) }()
	a.apart = true
	running, stop := context.WithCancel(ctx)
	defer stop()
	a.also("comparison", serviceUntil(func(ctx context.Context) error {
		defer stop()
		found, err := a.reconciling.run(ctx, asked.options(progress))
		if err != nil {
			return typeAgain(err, "pipehook reconcile")
		}
		report = &found
		return a.settled(ctx, syncListener(conf).Name)
	}))
	_, err = a.run(running)
	return report, errors.Join(err, ctx.Err())
}

// serviceUntil is a service that has ended its work when it returns, and not before its context ends.
type serviceUntil func(ctx context.Context) error

// Run implements core.Service.
func (f serviceUntil) Run(ctx context.Context) error {
	if err := f(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// settled waits until nothing is pending for a listener.
func (a *app) settled(ctx context.Context, listener string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		waiting, err := a.store.Reader().Waiting(ctx)
		if err != nil || waiting[listener] == 0 {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *cli) printReconcile(r *mirror.Report) error {
	if c.json {
		return c.printJSON(r)
	}
	w := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "OBJECT\tLOOKED AT\tDIFFER\tSETTLING\tSUBMITTED\tDELETES\tPENDING\tDUPLICATES\tWRITTEN\tFILLED\tCALLS\tTIME\tREMARK")
	for _, o := range r.Objects {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", o.Object, o.Looked, o.Differing, o.Settling, o.Submitted, o.Deletes, o.Pending,
			o.Duplicates, o.Written, o.Filled, o.Calls, took(o.TookMS), plain(cmp.Or(o.Error, o.Note)))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	settle := strict.DurationText(time.Duration(r.SettleMS) * time.Millisecond)
	switch n := r.Settling(); n {
	case 0:
	case 1:
		fmt.Fprintf(c.stdout, "1 change younger than %s is left for the next comparison\n", settle)
	default:
		fmt.Fprintf(c.stdout, "%d changes younger than %s are left for the next comparison\n", n, settle)
	}
	return nil
}
