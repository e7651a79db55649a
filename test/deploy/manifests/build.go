package manifests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// Root is the root of the checkout, seen from this package.
const Root = "../../.."

// Namespace is where every overlay puts its objects.
const Namespace = "holdfast"

// Build builds one kustomization and returns its objects as YAML documents.
func Build(dir string) ([][]byte, error) {
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, fmt.Errorf("building %s: %w", dir, err)
	}
	var documents [][]byte
	for _, r := range built.Resources() {
		document, err := r.AsYAML()
		if err != nil {
			return nil, fmt.Errorf("printing %s of %s: %w", r.CurId(), dir, err)
		}
		documents = append(documents, document)
	}
	return documents, nil
}

// Compose writes a kustomization of one's own into dir: an overlay with
// components, as somebody who deploys would write it.
func Compose(dir, overlay string, components ...string) error {
	dir, err := filepath.EvalSymlinks(dir) // the way from there to here must not lead through a link
	if err != nil {
		return err
	}
	deploy, err := filepath.Abs(filepath.Join(Root, "deploy"))
	if err != nil {
		return err
	}
	deploy, err = filepath.Rel(dir, deploy)
	if err != nil {
		return err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "namespace: %s\nresources: [%s]\ncomponents:\n", Namespace, filepath.Join(deploy, "overlays", overlay))
	for _, component := range components {
		fmt.Fprintf(&text, "- %s\n", filepath.Join(deploy, "components", component))
	}
	text.WriteString("images:\n" +
		"- {name: holdfast/llm-gateway, newTag: 1.4.0}\n" +
		"- {name: holdfast/orders, newTag: 1.4.0}\n" +
		"- {name: holdfast/payments, newTag: 1.4.0}\n" +
		"- {name: holdfast/orders-canary, newName: holdfast/orders, newTag: 1.5.0}\n" +
		"transformers:\n")
	fmt.Fprintf(&text, "- %s\n", filepath.Join(deploy, "base", "migrations", "naming"))
	return os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text.String()), 0o600)
}
