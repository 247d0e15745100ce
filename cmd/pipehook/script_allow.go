package main

import (
	"fmt"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/egress"
)

// checkHosts finds what no host can be meant by.
func checkHosts(conf *config.Config) config.Mistakes {
	mistakes := checkHostsAt(conf, "scripts.allow_hosts", conf.Scripts.AllowHosts)
	for i, l := range conf.Listeners {
		mistakes = append(mistakes, checkHostsAt(conf, fmt.Sprintf("listener[%d].allow_hosts", i), l.AllowHosts)...)
	}
	for i, p := range conf.Pipelines { // a stage's are its own, see stageMistakes
		mistakes = append(mistakes, checkHostsAt(conf, fmt.Sprintf("pipeline[%d].source_options.allow_hosts", i), p.SourceOptions.AllowHosts)...)
	}
	return mistakes
}

// checkHostsAt checks the list at a key. A list from the environment has no entries with a place.
func checkHostsAt(conf *config.Config, key string, hosts []string) config.Mistakes {
	var mistakes config.Mistakes
	for i, host := range hosts {
		err := egress.CheckHost(host)
		if err == nil || host == "" { // that has been said
			continue
		}
		at, msg := fmt.Sprintf("%s[%d]", key, i), err.Error()
		if !conf.Shows(at) {
			msg = `is not a host such as "chat.example.com", "*.example.com" or "10.0.0.5:8080"`
		}
		mistakes = append(mistakes, conf.Mistake(at, msg, ""))
	}
	return mistakes
}

// granted are the secrets of a script: those of all, and its own over them.
func granted(conf *config.Config, own map[string]core.Secret) map[string]string {
	all := make(map[string]string, len(conf.Scripts.Secrets)+len(own))
	for _, secrets := range []map[string]core.Secret{conf.Scripts.Secrets, own} {
		for name, value := range secrets {
			all[name] = string(value)
		}
	}
	return all
}
