package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/pipedrive"
)

const connectHelp = `Connect an app of Pipedrive's marketplace, in place of an API token. It prints an address; open it in any browser,
on any machine, and agree. Then Pipedrive sends the browser to the app's callback URL. Either that reaches
/pipedrive/callback on the admin listener of a pipehook that serves, or the page fails and you paste
its whole address here. The tokens are kept sealed in the store; a process that serves finds them there.

Without a terminal: --no-wait prints the address and ends, --code-file takes what came back.`

// untilLayout has the zone: who agrees may be elsewhere.
const untilLayout = "15:04:05 MST"

// connection is what connect and status need.
type connection struct {
	conf   *config.Config
	states pipedrive.States
	app    *pipedrive.OAuthAuthorizer // nil when there is none, or it is not used
}

func (c *cli) connection() (*connection, error) {
	conf, err := c.load(nil)
	if err != nil {
		return nil, err
	}
	states := besideStates{core.Secret(storeURL(conf))}
	return &connection{conf, states, namedApp(conf, states)}, nil
}

// appConnection refuses a configuration that names no app.
func (c *cli) appConnection() (*connection, error) {
	n, err := c.connection()
	if err != nil {
		return nil, err
	}
	var missing []string
	o := &n.conf.Pipedrive.OAuth
	for _, k := range []struct{ key, value string }{{"client_id", o.ClientID}, {"client_secret", string(o.ClientSecret)}, {"redirect_url", o.RedirectURL}} {
		if k.value == "" {
			missing = append(missing, k.key)
		}
	}
	if missing != nil {
		return nil, usagef("set them under [pipedrive.oauth] as the app has them in Pipedrive's developer hub, the secret as \"${PIPEDRIVE_CLIENT_SECRET}\"; with an API token there is nothing to connect",
			"%s names no app: there is no pipedrive.oauth.%s", n.conf.Path, strings.Join(missing, ", "))
	}
	return n, nil
}

func (c *cli) pipedriveConnectCommand() *cobra.Command {
	var file string
	var noWait bool
	cmd := &cobra.Command{
		Use: "connect", Short: "Connect an app with a company's account", Args: cobra.NoArgs, Long: connectHelp,
		Example: "  pipehook pipedrive connect\n  pipehook pipedrive connect --code-file - < answer.txt",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file != "" && noWait {
				return usagef("leave one out", "--code-file and --no-wait exclude each other")
			}
			n, err := c.appConnection()
			if err != nil {
				return err
			}
			if n.conf.Pipedrive.APIToken != "" {
				fmt.Fprintln(c.stderr, "warning: pipedrive.api_token goes before the app: take it out once the app is connected")
			}
			ctx := cmd.Context()
			if file != "" {
				text, err := c.readAnswer(file)
				if err == nil {
					err = n.paste(ctx, text)
				}
				return c.connected(ctx, n, err)
			}
			state, p, err := begin(ctx, n.states, time.Now())
			if err != nil {
				return err
			}
			if noWait {
				return c.printAddress(n.app.AuthURL(state), p.Until)
			}
			fmt.Fprintf(c.stderr, "Open this in a browser and agree. It is good for 10 minutes, until %s.\n\n  %s\n\n", p.Until.Local().Format(untilLayout), n.app.AuthURL(state))
			return c.connected(ctx, n, c.awaitConnection(ctx, n, p))
		},
	}
	cmd.Flags().StringVar(&file, "code-file", "", "take the code, or the address that the browser was sent to, from this file; - is standard input")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "print the address and end")
	return cmd
}

func (c *cli) printAddress(address string, until time.Time) error {
	if c.json {
		return c.printJSON(map[string]any{"url": address, "until": momentText(until)})
	}
	fmt.Fprintln(c.stderr, "open this in a browser and agree; then: pipehook pipedrive status, or pipehook pipedrive connect --code-file FILE")
	_, err := fmt.Fprintln(c.stdout, address)
	return err
}

// readAnswer reads what came back. It is a secret for five minutes and has no place among the arguments.
func (c *cli) readAnswer(file string) (string, error) {
	from := c.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", usagef("", "--code-file: %w", err)
		}
		defer func() { _ = f.Close() }()
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, 16<<10))
	return string(text), err
}

// paste takes what somebody brings back by hand. A code alone has no state: whoever has this terminal says that
// it is his.
func (n *connection) paste(ctx context.Context, text string) error {
	back, err := parseComeback(text)
	if err != nil {
		return err
	}
	p, err := loadPending(ctx, n.states)
	if err == nil && back.state != "" {
		p, err = take(ctx, n.states, back.state, time.Now())
	}
	switch {
	case errors.Is(err, errState):
		return &hinted{err, "pipehook pipedrive connect, and open the address that it prints"}
	case err != nil:
		return err
	}
	return p.exchange(ctx, n.app, n.states, back)
}

// awaitConnection waits for the callback to reach a process that serves, or for somebody to paste what came back.
func (c *cli) awaitConnection(ctx context.Context, n *connection, p pending) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	type answer struct {
		text string
		err  error
	}
	pasted := make(chan answer, 1)
	if a := c.asker(); a != nil {
		fmt.Fprintln(c.stderr, "If the browser ends at a page that can't be reached, paste its address here (it does not show). Ctrl-C ends it.")
		asked := make(chan struct{})
		defer func() { stop(); <-asked }() // the terminal is as it was
		go func() {                        // ends with ctx
			defer close(asked)
			text, err := a.secret(ctx, "Address or code")
			pasted <- answer{string(text), err}
		}()
	} else {
		fmt.Fprintln(c.stderr, "Waiting until Pipedrive's answer reaches /pipedrive/callback at admin.listen of a pipehook that serves. Ctrl-C ends it;\n--no-wait prints the address and does not wait.")
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return &hinted{fmt.Errorf("nobody has agreed yet, and the address is good until %s", p.Until.Local().Format(untilLayout)),
				"pipehook pipedrive status shows whether it was used; pipehook pipedrive connect begins anew"}
		case a := <-pasted:
			if a.err != nil {
				return a.err
			}
			return n.paste(ctx, a.text)
		case <-tick.C:
			over, err := n.outcome(ctx, p)
			if over || err != nil {
				return err
			}
		}
	}
}

// outcome is what became of a connection that was begun, as far as it is known.
func (n *connection) outcome(ctx context.Context, begun pending) (over bool, err error) {
	now, err := loadPending(ctx, n.states)
	switch {
	case err != nil:
		return false, err
	case string(now.Hash) != string(begun.Hash):
		return true, &hinted{errors.New("another pipehook pipedrive connect was begun, which ends this one"), "go on there"}
	case now.Outcome == connectDone:
		return true, nil
	case now.Outcome == connectFailed:
		return true, &hinted{errors.New(now.Error), cmp.Or(now.Hint, "pipehook pipedrive connect")}
	case !time.Now().Before(begun.Until):
		return true, &hinted{errors.New("nobody has agreed within 10 minutes"), "pipehook pipedrive connect"}
	}
	return false, nil
}

// connected shows with whom, and finds out that the tokens are good.
func (c *cli) connected(ctx context.Context, n *connection, err error) error {
	if err != nil {
		return err
	}
	status, err := n.ask(ctx)
	if err != nil {
		return err
	}
	if err := c.printStatus(status); err != nil {
		return err
	}
	return n.otherCompany(status)
}

// otherCompany is an error when the configuration names another company than the one that is connected.
func (n *connection) otherCompany(s *accountStatus) error {
	if want := n.conf.Pipedrive.Company; want != "" && s.CompanyDomain != "" && want != s.CompanyDomain {
		return &hinted{fmt.Errorf("it is connected with %s, and pipedrive.company is %s", s.CompanyDomain, want),
			fmt.Sprintf("set pipedrive.company = %q, or pipehook pipedrive disconnect and connect the other", s.CompanyDomain)}
	}
	return nil
}
