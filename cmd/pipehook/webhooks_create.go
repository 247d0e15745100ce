package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/pipedrive/hooks"
)

// createFlags are those of webhooks create.
type createFlags struct {
	url, event, name, version        string
	authUser, authPass, authPassFile string
	user                             int64
	auto, test, force, yes, noAuth   bool
}

// passwordVariable is where a password comes from that is given in no other way.
const passwordVariable = "PIPEDRIVE_WEBHOOK_PASSWORD"

func (c *cli) webhooksCreateCommand() *cobra.Command {
	var f createFlags
	cmd := &cobra.Command{
		Use: "create", Short: "Make a webhook in the account", Args: cobra.NoArgs,
		Long: `Make a webhook. What is missing is asked for on a terminal. An event is action.object in either
vocabulary, updated.deal or change.deal, with * on either side.

The password of HTTP Basic is that of the pipeline where --auth-user is its username; else it comes from
--auth-pass-file, from ` + passwordVariable + `, or is asked for. A webhook that is there already is not
made again.`,
		Example: "  pipehook webhooks create --auto-config --event '*.*'\n  pipehook webhooks create --url https://hooks.example.com/pipedrive/webhook --event updated.deal --auth-user hook --auth-pass-file password.txt",
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.createWebhook(cmd.Context(), f) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.url, "url", "", "where Pipedrive sends it")
	fs.StringVar(&f.event, "event", "", "what it is about, such as updated.deal or *.*")
	fs.StringVar(&f.name, "name", "", "what it is called in Pipedrive")
	fs.StringVar(&f.version, "webhook-version", hooks.Version2, "2.0, or 1.0")
	fs.StringVar(&f.authUser, "auth-user", "", "the username of HTTP Basic")
	fs.StringVar(&f.authPass, "auth-pass", "", "the password of HTTP Basic; others on this machine can see it, so rather use a file")
	fs.StringVar(&f.authPassFile, "auth-pass-file", "", "a file that holds the password of HTTP Basic")
	fs.BoolVar(&f.noAuth, "no-auth", false, "without HTTP Basic, also where the pipeline asks for it")
	fs.Int64Var(&f.user, "user", 0, "the id of the user whose permissions it has, instead of the token's")
	fs.BoolVar(&f.auto, "auto-config", false, "take the URL and HTTP Basic from the configuration")
	fs.BoolVar(&f.test, "test-url", false, "look at the URL first, and make nothing when Pipedrive could not use it")
	fs.BoolVar(&f.force, "force", false, "make it although there is one like it, or the URL was found wanting")
	fs.BoolVar(&f.yes, "yes", false, "do not ask")
	return cmd
}

func (c *cli) createWebhook(ctx context.Context, f createFlags) error {
	r, err := c.registrar(true)
	if err != nil {
		return err
	}
	w, password, err := c.completeWebhook(ctx, r, f)
	if err != nil {
		return err
	}
	if f.test {
		if err := c.testFirst(ctx, r, w, f.force); err != nil {
			return err
		}
	}
	has, err := r.webhooks(ctx)
	if err != nil {
		return err
	}
	if same, ok := hooks.Identical(w, has); ok && !f.force {
		return c.printCreated(r, same, false)
	}
	if err := c.tellOverlaps(hooks.Overlapping(w, has), f); err != nil {
		return err
	}
	if c.asker() != nil && !f.yes {
		sure, err := c.asker().sure(ctx, fmt.Sprintf("make a webhook of version %s for %s to %s", w.Version, w.Event.Named(w.Version), w.URL))
		if err == nil && !sure {
			fmt.Fprintln(c.stderr, "nothing was made")
		}
		if err != nil || !sure {
			return declined(err)
		}
	}
	made, err := r.register(ctx, w, password)
	if err != nil {
		return err
	}
	return c.printCreated(r, made, true)
}

// tellOverlaps warns of what brings some of the events already. Where nobody can be asked it needs a flag.
func (c *cli) tellOverlaps(others []hooks.Webhook, f createFlags) error {
	for _, h := range others {
		fmt.Fprintf(c.stderr, "warning: webhook %d (%s) brings some of the events to the same place: they would come twice\n", h.ID, h.Event.Named(h.Version))
	}
	if len(others) == 0 || f.force || f.yes || c.asker() != nil {
		return nil
	}
	return usagef("--force makes it all the same; pipehook webhooks list shows what there is", "nothing was made: some of the events come already")
}

func (c *cli) printCreated(r *registrar, h hooks.Webhook, created bool) error {
	if c.json {
		return c.printJSON(map[string]any{"created": created, "webhook": r.viewOf(h)})
	}
	text := fmt.Sprintf("webhook %d: %s to %s", h.ID, h.Event.Named(h.Version), plain(h.URL))
	if !created {
		text += " is there already, nothing was made; --force makes another"
	}
	_, err := fmt.Fprintln(c.stdout, text)
	return err
}

// completeWebhook takes what was not given from the configuration, or asks for it.
func (c *cli) completeWebhook(ctx context.Context, r *registrar, f createFlags) (w hooks.Wanted, password core.Secret, err error) {
	if f.version != hooks.Version1 && f.version != hooks.Version2 {
		return w, "", usagef("", "--webhook-version: it is 2.0 or 1.0")
	}
	if f.noAuth && (f.authUser != "" || f.auto) {
		return w, "", usagef("leave one out", "--no-auth: --auth-user and --auto-config bring HTTP Basic")
	}
	ask := c.asker()
	if f.auto {
		if r.address() == "" {
			return w, "", usagef("set pipedrive.public_url, and pipedrive.pipeline where there are several", "--auto-config: how Pipedrive reaches this pipehook is not known")
		}
		f.url = cmp.Or(f.url, r.address())
		if r.basic != nil {
			f.authUser = cmp.Or(f.authUser, r.basic.Username)
		}
	}
	var missing []string
	for _, q := range []struct {
		flag, question, fallback string
		value                    *string
		check                    func(string) error
	}{
		{"--event", "event, such as updated.deal", "*.*", &f.event, func(text string) error { _, _, err := eventOf(text, f.version); return err }},
		{"--url", "URL that Pipedrive sends to", r.address(), &f.url, func(text string) error {
			if err := r.checkAddress(text); err != nil {
				return fmt.Errorf("the address %w", err)
			}
			return nil
		}},
	} {
		switch {
		case *q.value != "":
		case ask == nil:
			missing = append(missing, q.flag)
		default:
			if *q.value, err = ask.fitting(ctx, q.question, q.fallback, q.check); err != nil {
				return w, "", err
			}
		}
	}
	if missing != nil {
		return w, "", usagef("pipehook webhooks create --auto-config --event '*.*'", "there is no terminal to ask at, and these are missing: %s", strings.Join(missing, ", "))
	}
	if w, err = c.describe(r, f); err != nil {
		return w, "", err
	}
	if w.AuthUser == "" && ask != nil && !f.auto && !f.noAuth {
		fallback := ""
		if r.ours(w.URL) && r.basic != nil {
			fallback = r.basic.Username
		}
		if w.AuthUser, err = ask.text(ctx, "username of HTTP Basic, empty for none", fallback); err != nil {
			return w, "", err
		}
	}
	if w.AuthUser == "" {
		return w, "", c.bare(r, w, f)
	}
	password, err = c.password(ctx, r, f, w.AuthUser)
	return w, password, err
}

// bare warns of a webhook without credentials where the pipeline asks for some: ten that are refused, and Pipedrive is
// silent for half an hour. Who was not asked has to say that it is meant.
func (c *cli) bare(r *registrar, w hooks.Wanted, f createFlags) error {
	if r.basic == nil {
		return nil
	}
	text := fmt.Sprintf("pipeline %s asks for HTTP Basic and refuses what comes without", r.pipeline.Name)
	if (r.ours(w.URL) || r.likely(w.URL)) && !f.noAuth && c.asker() == nil {
		return usagef(fmt.Sprintf("add --auth-user %s; --no-auth makes it all the same", plain(r.basic.Username)), "nothing was made: %s, and after ten of them Pipedrive sends nothing for 30 minutes", text)
	}
	fmt.Fprintf(c.stderr, "warning: %s, if this one comes there: add --auth-user %s\n", text, plain(r.basic.Username))
	return nil
}

// eventOf reads an event that webhooks of the version can be about.
func eventOf(text, version string) (e hooks.Event, warning string, err error) {
	if e, err = hooks.Parse(text); err == nil {
		warning, err = e.Check(version)
	}
	return e, warning, err
}

// describe checks what was given.
func (c *cli) describe(r *registrar, f createFlags) (hooks.Wanted, error) {
	w := hooks.Wanted{Name: f.name, URL: f.url, Version: f.version, User: f.user, AuthUser: f.authUser}
	var warning string
	var err error
	if w.Event, warning, err = eventOf(f.event, f.version); err != nil {
		return w, usagef("", "--event: %w", err)
	}
	if warning != "" {
		fmt.Fprintln(c.stderr, "warning:", warning)
	}
	if err := r.checkAddress(w.URL); err != nil {
		return w, usagef("", "--url: the address %w", err)
	}
	if len(f.name) > 255 {
		return w, usagef("", "--name: is longer than 255 characters")
	}
	return w, nil
}

// password is the one that goes with the username.
func (c *cli) password(ctx context.Context, r *registrar, f createFlags, username string) (core.Secret, error) {
	switch given := f.authPass; {
	case given != "" && f.authPassFile != "":
		return "", usagef("", "give --auth-pass or --auth-pass-file, not both")
	case given != "":
		fmt.Fprintln(c.stderr, "warning: others on this machine can see --auth-pass while this runs, and the shell may keep it: rather use --auth-pass-file")
		return core.Secret(given), nil
	case f.authPassFile != "":
		return passwordFile(f.authPassFile)
	case r.basic != nil && r.basic.Username == username:
		return r.basic.Password, r.stillGood(ctx)
	}
	for _, v := range c.environ {
		if value, ok := strings.CutPrefix(v, passwordVariable+"="); ok && value != "" {
			return core.Secret(value), nil
		}
	}
	ask := c.asker()
	if ask == nil {
		return "", usagef("give --auth-pass-file, or set "+passwordVariable, "there is no password for %s, and no terminal to ask at", username)
	}
	password, err := ask.secret(ctx, "password of HTTP Basic")
	if err == nil && password == "" {
		hint := "answer with nothing when asked for the username, for none"
		if f.authUser != "" {
			hint = "leave --auth-user out for none"
		}
		err = usagef(hint, "the password is empty; nothing was made")
	}
	return password, err
}

func passwordFile(path string) (core.Secret, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", usagef("", "--auth-pass-file: %w", err)
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" {
		return "", usagef("", "--auth-pass-file: %s is empty", path)
	}
	return core.Secret(password), nil
}

// strangeWebhooks warns of what is declared and may be a slip, as create does.
func strangeWebhooks(conf *config.Config) (all []string) {
	r, unclear := registrarOf(conf) // what is wrong there is said elsewhere
	for i, w := range conf.Pipedrive.Webhooks {
		if unclear == nil && r.basic != nil && w.URL != "" && !r.ours(w.URL) && (r.address() == "" || r.likely(w.URL)) {
			all = append(all, fmt.Sprintf("pipedrive.webhook[%d].url: pipeline %s asks for HTTP Basic and refuses what comes without, as this one does, if it comes there: set pipedrive.public_url", i, r.pipeline.Name))
		}
		e, err := hooks.Parse(w.Event)
		if err != nil {
			continue
		}
		if warning, err := e.Check(cmp.Or(w.Version, hooks.Version2)); err == nil && warning != "" {
			all = append(all, fmt.Sprintf("pipedrive.webhook[%d].event: %s", i, warning))
		}
	}
	return all
}

// checkWebhooks finds the mistakes in what the configuration declares.
func checkWebhooks(conf *config.Config) (mistakes config.Mistakes) {
	for i, w := range conf.Pipedrive.Webhooks {
		e, err := hooks.Parse(w.Event)
		if err == nil {
			_, err = e.Check(cmp.Or(w.Version, hooks.Version2))
		}
		if w.Event != "" { // that it is required has been said
			mistakes = conf.Collect(mistakes, fmt.Sprintf("pipedrive.webhook[%d].event", i), err)
		}
	}
	return mistakes
}
