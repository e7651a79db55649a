package main

import (
	"slices"

	ast "github.com/pganalyze/pg_query_go/v6"
)

// nameOf is a table's name, with its schema if that is not the usual one.
func nameOf(table *ast.RangeVar) string {
	if schema := table.GetSchemaname(); schema != "" && schema != "public" {
		return schema + "." + table.GetRelname()
	}
	return table.GetRelname()
}

// lastName is the name of what a DROP names: the last part of `a.b`.
func lastName(object *ast.Node) string {
	switch n := object.GetNode().(type) {
	case *ast.Node_List:
		return lastField(n.List.GetItems())
	case *ast.Node_TypeName:
		return lastField(n.TypeName.GetNames())
	case *ast.Node_ObjectWithArgs:
		return lastField(n.ObjectWithArgs.GetObjname())
	default:
		return object.GetString_().GetSval()
	}
}

func lastField(fields []*ast.Node) string {
	if len(fields) == 0 {
		return ""
	}
	return fields[len(fields)-1].GetString_().GetSval()
}

func hasOption(options []*ast.Node, name string) bool {
	return slices.ContainsFunc(options, func(option *ast.Node) bool { return option.GetDefElem().GetDefname() == name })
}

func constantText(node *ast.Node) string { return node.GetAConst().GetSval().GetSval() }

func isSerial(t *ast.TypeName) bool {
	return slices.Contains([]string{"serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"}, lastField(t.GetNames()))
}

func isNull(expression *ast.Node) bool { return expression.GetAConst().GetIsnull() }

// isConstant reports whether a default is one value for all rows, as far as can
// be told without a database: literals, casts of them, and the time at which
// the transaction began.
func isConstant(expression *ast.Node) bool {
	switch n := expression.GetNode().(type) {
	case *ast.Node_AConst, *ast.Node_SqlvalueFunction:
		return true
	case *ast.Node_TypeCast:
		return isConstant(n.TypeCast.GetArg())
	case *ast.Node_AArrayExpr:
		return !slices.ContainsFunc(n.AArrayExpr.GetElements(), func(element *ast.Node) bool { return !isConstant(element) })
	case *ast.Node_AExpr:
		return (n.AExpr.GetLexpr() == nil || isConstant(n.AExpr.GetLexpr())) && isConstant(n.AExpr.GetRexpr())
	case *ast.Node_FuncCall:
		return len(n.FuncCall.GetArgs()) == 0 && slices.Contains([]string{"now", "transaction_timestamp"}, lastField(n.FuncCall.GetFuncname()))
	default:
		return false
	}
}

// hasColumn reports whether an expression depends on the row.
func hasColumn(expression *ast.Node) bool {
	switch n := expression.GetNode().(type) {
	case *ast.Node_ColumnRef:
		return true
	case *ast.Node_AConst, *ast.Node_SqlvalueFunction, nil:
		return false
	case *ast.Node_TypeCast:
		return hasColumn(n.TypeCast.GetArg())
	case *ast.Node_AExpr:
		return hasColumn(n.AExpr.GetLexpr()) || hasColumn(n.AExpr.GetRexpr())
	default:
		return true
	}
}
