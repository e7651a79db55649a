// Command protoimage compiles a tree of proto files into a buf image (a
// FileDescriptorSet), offline.
//
// Imports that are not in the tree, such as google/api/annotations.proto and
// buf/validate/validate.proto, are resolved from the descriptors that their Go
// packages link into this program, so that no third-party proto is vendored
// and no schema registry is needed.
package main

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	_ "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	_ "google.golang.org/genproto/googleapis/api/annotations"
	_ "google.golang.org/genproto/googleapis/rpc/errdetails"
	_ "google.golang.org/genproto/googleapis/type/money"
	_ "google.golang.org/protobuf/types/known/durationpb"
	_ "google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

func main() {
	root := flag.String("root", "proto", "the folder that import paths start from")
	out := flag.String("o", "", "the image to write")
	flag.Parse()
	if err := run(context.Background(), *root, *out); err != nil {
		fmt.Fprintln(os.Stderr, "protoimage:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, root, out string) error {
	names, err := protoFiles(root)
	if err != nil {
		return err
	}
	compiler := protocompile.Compiler{
		Resolver: protocompile.CompositeResolver{
			&protocompile.SourceResolver{ImportPaths: []string{root}},
			protocompile.ResolverFunc(linkedIn),
		},
		// Comments and positions: buf lint reports them, the OpenAPI text is made of them.
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(ctx, names...)
	if err != nil {
		return fmt.Errorf("compile: %w", err)
	}
	image, err := proto.MarshalOptions{Deterministic: true}.Marshal(descriptorSet(files))
	if err != nil {
		return fmt.Errorf("marshal image: %w", err)
	}
	return os.WriteFile(out, image, 0o644)
}

// protoFiles lists the proto files below root, by import path, sorted.
func protoFiles(root string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".proto") {
			return err
		}
		name, err := filepath.Rel(root, path)
		names = append(names, filepath.ToSlash(name))
		return err
	})
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("no proto files below %s", root)
	}
	sort.Strings(names)
	return names, err
}

// linkedIn resolves an import from the descriptors linked into this program.
func linkedIn(path string) (protocompile.SearchResult, error) {
	file, err := protoregistry.GlobalFiles.FindFileByPath(path)
	if err != nil {
		return protocompile.SearchResult{}, err
	}
	return protocompile.SearchResult{Proto: protodesc.ToFileDescriptorProto(file)}, nil
}

// descriptorSet orders files so that imports come before what imports them,
// which is what buf expects of an image.
func descriptorSet(files linker.Files) *descriptorpb.FileDescriptorSet {
	set := &descriptorpb.FileDescriptorSet{}
	seen := map[string]bool{}
	var add func(file protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		for i := range file.Imports().Len() {
			add(file.Imports().Get(i).FileDescriptor)
		}
		var desc *descriptorpb.FileDescriptorProto
		if result, ok := file.(linker.Result); ok {
			desc = result.FileDescriptorProto()
		} else {
			desc = protodesc.ToFileDescriptorProto(file)
		}
		if desc.SourceCodeInfo == nil {
			desc.SourceCodeInfo = &descriptorpb.SourceCodeInfo{}
		}
		set.File = append(set.File, desc)
	}
	for _, file := range files {
		add(file)
	}
	return set
}
