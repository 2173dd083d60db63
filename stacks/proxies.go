package stacks

import (
	"os"
	"strings"

	"stackmeter/scenarios/show"
)

// Proxies returns the operator's proxy settings by environment variable, in lower
// and upper case. Empty ones are left out.
func Proxies() map[string]string {
	proxies := map[string]string{}
	for _, name := range []string{"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"} {
		for _, name := range []string{name, strings.ToUpper(name)} {
			if value := os.Getenv(name); value != "" {
				proxies[name] = value
			}
		}
	}
	return proxies
}

// ProxySecrets returns the credentials in Proxies, which no result may contain.
func ProxySecrets() []string {
	var secrets []string
	for _, address := range Proxies() {
		secrets = append(secrets, show.Credentials(address)...)
	}
	return secrets
}
