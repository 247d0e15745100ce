package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/samples"
	"github.com/pipehook/pipehook/core/strict"
	"github.com/pipehook/pipehook/stages/authenticate"
)

func (c *cli) triggerCommand() *cobra.Command {
	var file, url, pipeline string
	cmd := &cobra.Command{
		Use: "trigger [EVENT]", Short: "Send a sample webhook, authenticated as configured", Args: cobra.MaximumNArgs(1),
		Long: "Send a sample of an event such as updated.deal, or a file, to a running pipehook, with the\ncredentials and the signature that the pipeline asks for. A sample is fresh each time, so it\nis no duplicate; a file is sent as it is.\n\nSamples: " +
			strings.Join(samples.Types(), ", "),
		Example: "  pipehook trigger updated.deal\n  pipehook trigger --file body.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := c.triggerBody(file, args)
			if err != nil {
				return err
			}
			conf, _, err := c.loadOrExample()
			if err != nil {
				return err
			}
			p, err := choosePipeline(conf, pipeline, file == "")
			if err != nil {
				return err
			}
			if p.OwnSource() && file == "" {
				return usagef("pipehook trigger --file BODY", "the source of pipeline %s is a %s, and there are samples of pipedrive only", p.Name, p.Source)
			}
			a, err := send(cmd.Context(), p, cmp.Or(url, "http://"+conf.Server.Listen+p.Path), body)
			if err != nil {
				return &hinted{err, "is pipehook dev or pipehook serve running?"}
			}
			return c.printAnswer(a)
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "send this file; - for standard input")
	cmd.Flags().StringVar(&url, "url", "", "send it here instead of to server.listen and the pipeline's path")
	cmd.Flags().StringVar(&pipeline, "pipeline", "", "the pipeline, when there are several")
	return cmd
}

func (c *cli) triggerBody(file string, args []string) ([]byte, error) {
	switch {
	case file != "" && len(args) > 0:
		return nil, usagef("", "give an event or --file, not both")
	case file == "-":
		return io.ReadAll(c.stdin)
	case file != "":
		body, err := os.ReadFile(file)
		if err != nil {
			return nil, usagef("", "--file: %w", err)
		}
		return body, nil
	}
	event := "updated.deal"
	if len(args) == 1 {
		event = args[0]
	}
	_, body, ok := samples.For(event)
	if !ok {
		return nil, usagef(sampleHint(event)+"; --file sends a file", "there is no sample of %q", event)
	}
	return samples.Fresh(body, time.Now()), nil
}

// choosePipeline is the pipeline of the name; without one the only one there is, or, for a sample, the
// only one that understands it.
func choosePipeline(conf *config.Config, name string, sample bool) (config.Pipeline, error) {
	if len(conf.Pipelines) == 0 {
		return config.Pipeline{}, usagef("add a [[pipeline]]", "%s describes no pipeline", conf.Path)
	}
	if name == "" && len(conf.Pipelines) == 1 {
		return conf.Pipelines[0], nil
	}
	var names []string
	var fitting []config.Pipeline
	for _, p := range conf.Pipelines {
		if p.Name == name {
			return p, nil
		}
		if !p.OwnSource() {
			fitting = append(fitting, p)
		}
		names = append(names, p.Name)
	}
	hint := "one of " + strings.Join(names, ", ")
	switch {
	case name != "":
		return config.Pipeline{}, usagef(hint, "there is no pipeline %q", name)
	case sample && len(fitting) == 1:
		return fitting[0], nil
	default:
		return config.Pipeline{}, usagef(hint, "there are several pipelines: choose one with --pipeline")
	}
}

// sampleHint names the sample that was probably meant, or all of them.
func sampleHint(event string) string { return strict.Suggest(event, samples.Types()) }

// answer is what a receiver said.
type answer struct {
	status int
	body   []byte
	took   time.Duration
}

// send posts a body as the pipeline's sender would: with every credential its chain asks for.
func send(ctx context.Context, p config.Pipeline, url string, body []byte) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "pipehook trigger")
	if err := sign(req, p, body); err != nil {
		return answer{}, err
	}
	start := time.Now()
	resp, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
	if err != nil {
		return answer{}, err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return answer{resp.StatusCode, text, time.Since(start)}, joinClose(err, resp.Body.Close)
}

func sign(req *http.Request, p config.Pipeline, body []byte) error {
	for _, s := range p.Stages {
		if s.Use != "authenticate" {
			continue
		}
		var conf authenticate.Config
		if err := s.Decode(&conf); err != nil {
			return &usageError{err: err}
		}
		if conf.Basic != nil {
			req.SetBasicAuth(conf.Basic.Username, string(conf.Basic.Password))
		}
		if conf.Signature != nil {
			req.Header.Set(conf.Signature.Header, authenticate.Sign(conf.Signature, body))
		}
	}
	return nil
}

// printAnswer shows the answer; one that is not 2xx is a failure.
func (c *cli) printAnswer(a answer) error {
	if c.json {
		raw := json.RawMessage(a.body)
		if !json.Valid(raw) {
			raw = nil
		}
		if err := c.printJSON(map[string]any{"status": a.status, "tookUs": a.took.Microseconds(), "answer": raw}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(c.stdout, "%d %s  %s  %s\n", a.status, http.StatusText(a.status), plain(string(a.body)), a.took.Round(100*time.Microsecond))
	}
	if a.status < 200 || a.status > 299 {
		err := fmt.Errorf("the webhook was not accepted: status %d", a.status)
		switch a.status {
		case http.StatusNotFound:
			return &hinted{err, "what runs may have an older configuration: pipehook check tells whether this one is good"}
		case http.StatusUnauthorized:
			return &hinted{err, "what runs has other credentials than this configuration"}
		}
		return err
	}
	return nil
}
