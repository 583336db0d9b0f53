// Command pulumi-resource-libvirt serves the unmodified pulumi-libvirt SDK: the Terraform provider's own module, bridged.
package main

import (
	"context"
	"fmt"
	"strings"
	"unicode"

	"github.com/dmacvicar/terraform-provider-libvirt/libvirt"
	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	shim "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim/sdk-v2"
)

const (
	name = "libvirt"
	// The version of the SDK that we serve: the engine compares the two.
	version = "0.5.4"
	// What the SDK's own plugin allows a name that is not given: without it a replaced domain collides with itself.
	longestName = 255
	// What go-libvirt says when the connection ends before the answer.
	interrupted = "interrupted while awaiting response"
)

// The bridge asks for a schema and for metadata. Only code generation reads more of them than name and version.
var (
	stub     = []byte(`{"name":"` + name + `","version":"` + version + `"}`)
	metadata = []byte(`{}`)
)

func provider() tfbridge.ProviderInfo {
	upstream := libvirt.Provider()
	upstream.ConfigureFunc = reaching(upstream.ConfigureFunc)
	info := tfbridge.ProviderInfo{
		P:            shim.NewProvider(upstream),
		Name:         name,
		Version:      version,
		Resources:    map[string]*tfbridge.ResourceInfo{},
		DataSources:  map[string]*tfbridge.DataSourceInfo{},
		MetadataInfo: tfbridge.NewProviderMetadata(metadata),
	}
	for key, resource := range upstream.ResourcesMap {
		resource.CreateContext = telling(resource.CreateContext)
		resource.ReadContext = telling(resource.ReadContext)
		resource.UpdateContext = telling(resource.UpdateContext)
		resource.DeleteContext = telling(resource.DeleteContext)
		member := pascal(strings.TrimPrefix(key, name+"_"))
		if key == "libvirt_cloudinit_disk" {
			// The one that the SDK spells in its own way.
			member = "CloudInitDisk"
		}
		info.Resources[key] = &tfbridge.ResourceInfo{Tok: tfbridge.MakeResource(name, "index", member)}
	}
	for key := range upstream.DataSourcesMap {
		member := "get" + pascal(strings.TrimPrefix(key, name+"_"))
		info.DataSources[key] = &tfbridge.DataSourceInfo{Tok: tfbridge.MakeDataSource(name, "index", member)}
	}
	info.SetAutonaming(longestName, "-")
	return info
}

// reaching says where libvirt was looked for and what to do, which the provider leaves to the reader of a socket's error.
func reaching(configure schema.ConfigureFunc) schema.ConfigureFunc {
	return func(data *schema.ResourceData) (any, error) {
		client, err := configure(data)
		if err != nil {
			return nil, fmt.Errorf("libvirt at %s is not reached: %w. Start it there (systemctl start libvirtd), "+
				"or name another in hosts.uri; then run the same command again", data.Get("uri"), err)
		}
		return client, nil
	}
}

// telling says what it means that a call was interrupted: libvirtd ended while it was at work.
func telling[F ~func(context.Context, *schema.ResourceData, any) diag.Diagnostics](call F) F {
	if call == nil {
		return nil
	}
	return func(ctx context.Context, data *schema.ResourceData, meta any) diag.Diagnostics {
		found := call(ctx, data, meta)
		for n := range found {
			if strings.Contains(found[n].Summary, interrupted) {
				found[n].Summary += ": libvirtd ended or was started anew while it was at work. See that it runs there " +
					"(systemctl start libvirtd), then run the same command again"
			}
		}
		return found
	}
}

// pascal makes NetworkDnsHostTemplate of network_dns_host_template.
func pascal(snake string) string {
	var text strings.Builder
	for _, word := range strings.Split(snake, "_") {
		letters := []rune(word)
		letters[0] = unicode.ToUpper(letters[0])
		text.WriteString(string(letters))
	}
	return text.String()
}

func main() {
	tfbridge.Main(name, version, provider(), stub)
}
