package main

import (
	"go/types"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// TestExportedIsUsed finds what a package exports although only it uses it:
// constants, variables, functions and types. A type counts as used where
// something that is used has it in its signature or its fields, and a method or
// field belongs to its type.
func TestExportedIsUsed(t *testing.T) {
	loaded, err := packages.Load(&packages.Config{
		Mode:  packages.NeedName | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedSyntax | packages.NeedImports,
		Tests: true,
	}, "stackmeter/...")
	if err != nil {
		t.Fatal(err)
	}
	exported := map[string]types.Object{} // by package path and name
	used := map[string]bool{}
	for _, pkg := range loaded {
		for _, err := range pkg.Errors {
			t.Fatal(err)
		}
		in := ownPath(pkg.PkgPath)
		if !strings.HasSuffix(pkg.PkgPath, "_test") {
			for _, name := range pkg.Types.Scope().Names() {
				if obj := pkg.Types.Scope().Lookup(name); obj.Exported() && !inTest(pkg, obj) {
					exported[in+"."+name] = obj
				}
			}
		}
		for _, obj := range pkg.TypesInfo.Uses {
			if isPackageLevel(obj) && ownPath(obj.Pkg().Path()) != in {
				used[ownPath(obj.Pkg().Path())+"."+obj.Name()] = true
			}
		}
	}
	if len(exported) == 0 {
		t.Fatal("no package was loaded")
	}
	reach(exported, used)
	for _, name := range slices.Sorted(maps.Keys(exported)) {
		if !used[name] && !strings.HasPrefix(name, "stackmeter/cmd/stackmeter.") {
			t.Errorf("%s is exported and no other package uses it", name)
		}
	}
}

// ownPath is the path of a package or of its external tests.
func ownPath(path string) string { return strings.TrimSuffix(path, "_test") }

func isPackageLevel(obj types.Object) bool {
	return obj.Pkg() != nil && obj.Parent() == obj.Pkg().Scope() && strings.HasPrefix(obj.Pkg().Path(), "stackmeter/")
}

func inTest(pkg *packages.Package, obj types.Object) bool {
	return strings.HasSuffix(pkg.Fset.Position(obj.Pos()).Filename, "_test.go")
}

// reach marks the types that what is used shows: its type, the parameters and
// results of its exported methods, and its exported fields.
func reach(exported map[string]types.Object, used map[string]bool) {
	seen := map[types.Type]bool{}
	var walk func(types.Type)
	walk = func(typ types.Type) {
		if seen[typ] {
			return
		}
		seen[typ] = true
		switch typ := typ.(type) {
		case *types.Named:
			if isPackageLevel(typ.Obj()) {
				used[ownPath(typ.Obj().Pkg().Path())+"."+typ.Obj().Name()] = true
				for method := range typ.Methods() {
					if method.Exported() {
						walk(method.Type())
					}
				}
				walk(typ.Underlying())
			}
			for arg := range typ.TypeArgs().Types() {
				walk(arg)
			}
		case *types.Alias:
			walk(types.Unalias(typ))
		case *types.Struct:
			for field := range typ.Fields() {
				if field.Exported() {
					walk(field.Type())
				}
			}
		case *types.Signature:
			walk(typ.Params())
			walk(typ.Results())
		case *types.Tuple:
			for v := range typ.Variables() {
				walk(v.Type())
			}
		case *types.Interface:
			for method := range typ.Methods() {
				walk(method.Type())
			}
		case *types.Map:
			walk(typ.Key())
			walk(typ.Elem())
		case interface{ Elem() types.Type }: // pointers, slices, arrays, channels
			walk(typ.Elem())
		}
	}
	for name, obj := range exported {
		if used[name] {
			walk(obj.Type())
		}
	}
}
