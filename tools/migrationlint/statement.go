package main

import (
	"strings"

	ast "github.com/pganalyze/pg_query_go/v6"
)

// statement looks at one statement. What no rule knows is refused: a rule has
// to be written before it can be used.
func (f *file) statement(node *ast.Node) {
	f.retried(node)
	switch n := node.GetNode().(type) {
	case *ast.Node_CreateStmt:
		f.created[nameOf(n.CreateStmt.GetRelation())] = true
	case *ast.Node_CreateTableAsStmt:
		f.created[nameOf(n.CreateTableAsStmt.GetInto().GetRel())] = true
	case *ast.Node_AlterTableStmt:
		f.alterTable(n.AlterTableStmt)
	case *ast.Node_IndexStmt:
		f.index(n.IndexStmt)
	case *ast.Node_ReindexStmt:
		if !hasOption(n.ReindexStmt.GetParams(), "concurrently") {
			f.report("index", "REINDEX CONCURRENTLY")
		}
	case *ast.Node_DropStmt:
		f.drop(n.DropStmt)
	case *ast.Node_RenameStmt:
		f.rename(n.RenameStmt)
	case *ast.Node_AlterObjectSchemaStmt:
		if !f.contracted() {
			f.report("rename", "moving it to another schema renames it")
		}
	case *ast.Node_LockStmt:
		f.report("lock", "LOCK TABLE")
	case *ast.Node_ClusterStmt:
		f.report("lock", "CLUSTER rewrites the table and shuts everybody out meanwhile")
	case *ast.Node_VacuumStmt:
		if n.VacuumStmt.GetIsVacuumcmd() && hasOption(n.VacuumStmt.GetOptions(), "full") {
			f.report("lock", "VACUUM FULL rewrites the table and shuts everybody out meanwhile")
		}
	case *ast.Node_RefreshMatViewStmt:
		if !n.RefreshMatViewStmt.GetConcurrent() {
			f.report("lock", "REFRESH MATERIALIZED VIEW CONCURRENTLY lets readers pass")
		}
	case *ast.Node_VariableSetStmt:
		f.set(n.VariableSetStmt)
	case *ast.Node_AlterRoleSetStmt:
		f.set(n.AlterRoleSetStmt.GetSetstmt())
	case *ast.Node_AlterDatabaseSetStmt:
		f.set(n.AlterDatabaseSetStmt.GetSetstmt())
	case *ast.Node_UpdateStmt:
		f.rows("UPDATE", n.UpdateStmt.GetRelation(), n.UpdateStmt.GetWhereClause(), n.UpdateStmt.GetFromClause())
		f.within(n.UpdateStmt.GetWithClause())
	case *ast.Node_DeleteStmt:
		f.rows("DELETE", n.DeleteStmt.GetRelation(), n.DeleteStmt.GetWhereClause(), n.DeleteStmt.GetUsingClause())
		f.within(n.DeleteStmt.GetWithClause())
	case *ast.Node_TruncateStmt:
		for _, table := range n.TruncateStmt.GetRelations() {
			if !f.created[nameOf(table.GetRangeVar())] {
				f.report("whole-table", "TRUNCATE takes what others are reading")
			}
		}
	case *ast.Node_SelectStmt:
		f.selects(n.SelectStmt)
	case *ast.Node_InsertStmt:
		f.within(n.InsertStmt.GetWithClause())
	case *ast.Node_DoStmt:
		f.do(n.DoStmt)
	case *ast.Node_CreateTrigStmt:
		f.holds(nameOf(n.CreateTrigStmt.GetRelation()))
	case *ast.Node_CreateFunctionStmt, *ast.Node_ViewStmt, *ast.Node_CreateSeqStmt, *ast.Node_CreateSchemaStmt,
		*ast.Node_CreateEnumStmt, *ast.Node_AlterEnumStmt, *ast.Node_CompositeTypeStmt, *ast.Node_CreateRangeStmt,
		*ast.Node_CreateExtensionStmt, *ast.Node_CreateStatsStmt, *ast.Node_CommentStmt, *ast.Node_GrantStmt:
		// They add, and lock nothing that requests need for longer than a moment.
	default:
		f.report("unknown", "no rule knows this statement; teach tools/migrationlint when it is safe")
	}
}

// retried holds a migration without a transaction to what bears being done
// twice: when it fails half-way, all of it runs again.
func (f *file) retried(node *ast.Node) {
	if f.atomic || f.inDo {
		return
	}
	switch n := node.GetNode().(type) {
	case *ast.Node_IndexStmt, *ast.Node_ReindexStmt, *ast.Node_DoStmt, *ast.Node_SelectStmt:
		return
	case *ast.Node_DropStmt:
		if n.DropStmt.GetMissingOk() {
			return
		}
		f.report("no-transaction", "DROP … IF EXISTS, because a former try may have done it")
	case *ast.Node_AlterTableStmt:
		for _, command := range n.AlterTableStmt.GetCmds() {
			if command.GetAlterTableCmd().GetSubtype() != ast.AlterTableType_AT_ValidateConstraint {
				f.report("no-transaction", "this cannot be done twice; give it a migration with a transaction")
				return
			}
		}
	default:
		f.report("no-transaction", "this may not bear being done twice; give it a migration with a transaction")
	}
}

// index wants an index of a table in use built beside its writers, and in a way
// that survives a failed try: that leaves an invalid index of the same name,
// which IF NOT EXISTS would take for a good one.
func (f *file) index(n *ast.IndexStmt) {
	table := nameOf(n.GetRelation())
	switch {
	case f.created[table]:
		return
	case !n.GetConcurrent():
		f.report("index", "CREATE INDEX CONCURRENTLY, in a migration with `-- +goose NO TRANSACTION`")
	case f.atomic:
		f.report("index", "CONCURRENTLY needs `-- +goose NO TRANSACTION` at the top")
	case n.GetIdxname() == "":
		f.report("index", "name the index, so that a failed try can be cleared away")
	case n.GetIfNotExists() || !f.dropped[n.GetIdxname()]:
		f.report("index", "put DROP INDEX CONCURRENTLY IF EXISTS %s before it, and no IF NOT EXISTS: a failed try leaves an invalid index", n.GetIdxname())
	}
}

// drop lets go what began in this file or carries the mark of a contract.
func (f *file) drop(n *ast.DropStmt) {
	if n.GetRemoveType() == ast.ObjectType_OBJECT_INDEX {
		f.dropIndex(n)
		return
	}
	for _, object := range n.GetObjects() {
		name := lastName(object)
		if f.created[name] {
			continue
		}
		if !f.contracted() {
			f.report("drop", "%s may be in use: it goes one release after the one that stopped using it, marked `-- contract: unused since VERSION`", name)
			continue
		}
		if n.GetRemoveType() == ast.ObjectType_OBJECT_TABLE {
			f.holds(name)
		}
	}
}

// dropIndex does not ask for a mark: no statement names an index. What relies
// on a unique one says so with a constraint, or is found by the previous
// release's tests.
func (f *file) dropIndex(n *ast.DropStmt) {
	for _, object := range n.GetObjects() {
		f.dropped[lastName(object)] = true
	}
	switch {
	case !n.GetConcurrent():
		f.report("index", "DROP INDEX CONCURRENTLY, in a migration with `-- +goose NO TRANSACTION`")
	case f.atomic:
		f.report("index", "CONCURRENTLY needs `-- +goose NO TRANSACTION` at the top")
	}
}

func (f *file) rename(n *ast.RenameStmt) {
	if f.created[nameOf(n.GetRelation())] {
		return
	}
	switch n.GetRenameType() {
	case ast.ObjectType_OBJECT_INDEX, ast.ObjectType_OBJECT_TABCONSTRAINT, ast.ObjectType_OBJECT_TRIGGER:
		return // code knows none of them by name
	}
	if !f.contracted() {
		f.report("rename", "add the new name beside the old one, and drop the old one a release after its last use")
	}
}

// set keeps the lock timeout that pkg/postgres migrates with.
func (f *file) set(n *ast.VariableSetStmt) {
	switch {
	case n.GetKind() == ast.VariableSetKind_VAR_RESET_ALL:
		f.report("timeout", "RESET ALL drops the lock_timeout that migrations run with")
	case strings.EqualFold(n.GetName(), "lock_timeout"):
		f.report("timeout", "lock_timeout is set by pkg/postgres for all migrations")
	case strings.EqualFold(n.GetName(), "search_path"), strings.EqualFold(n.GetName(), "role"),
		strings.EqualFold(n.GetName(), "session_authorization"):
		f.report("unknown", "the rules do not follow a change of %s", n.GetName())
	}
}

// selects finds functions in a SELECT that do what statements may not.
func (f *file) selects(n *ast.SelectStmt) {
	f.within(n.GetWithClause())
	for _, target := range n.GetTargetList() {
		call := target.GetResTarget().GetVal().GetFuncCall()
		if call == nil {
			continue
		}
		name := lastName(&ast.Node{Node: &ast.Node_List{List: &ast.List{Items: call.GetFuncname()}}})
		if name == "set_config" && len(call.GetArgs()) > 0 && constantText(call.GetArgs()[0]) == "lock_timeout" {
			f.report("timeout", "lock_timeout is set by pkg/postgres for all migrations")
		}
	}
}

// within looks at the statements of a WITH clause.
func (f *file) within(with *ast.WithClause) {
	for _, query := range with.GetCtes() {
		f.statementIn(query.GetCommonTableExpr().GetCtequery())
	}
}

// statementIn looks at a statement inside another one.
func (f *file) statementIn(node *ast.Node) {
	before := f.inDo
	f.inDo = true
	f.statement(node)
	f.inDo = before
}

// rows wants an UPDATE or DELETE to name the rows, so that it ends soon. A
// WHERE that holds for every row that was not done yet names none.
func (f *file) rows(verb string, table *ast.RangeVar, where *ast.Node, from []*ast.Node) {
	if f.created[nameOf(table)] {
		return
	}
	if f.locked != "" {
		f.report("one-lock", "this runs while the transaction holds the lock on %s: give it a migration of its own", f.locked)
	}
	// A join names rows only where it is with a batch of keys.
	if (len(from) > 0 && !f.batched) || (len(from) == 0 && !namesRows(where)) {
		f.report("whole-table", "%s of all of %s: do it in batches by key, in a DO block that commits", verb, nameOf(table))
	}
}

// namesRows reports whether a condition narrows down which rows are meant:
// anything but constants and IS NULL does.
func namesRows(where *ast.Node) bool {
	switch n := where.GetNode().(type) {
	case nil, *ast.Node_AConst, *ast.Node_NullTest, *ast.Node_BooleanTest:
		return false
	case *ast.Node_BoolExpr:
		for _, arg := range n.BoolExpr.GetArgs() {
			if namesRows(arg) {
				return true
			}
		}
		return false
	case *ast.Node_AExpr:
		return hasColumn(n.AExpr.GetLexpr()) || hasColumn(n.AExpr.GetRexpr())
	default:
		return true
	}
}

func (f *file) do(n *ast.DoStmt) {
	block, err := readBlock(n, f.line)
	if err != nil {
		f.report("syntax", "%v", err)
		return
	}
	if block.dynamic {
		f.report("dynamic-sql", "write the statement out, or generate the migration: EXECUTE cannot be checked")
	}
	f.batched = block.commits
	for _, s := range block.statements {
		f.comment = s.comment
		f.statementIn(s.node)
	}
	f.batched = false
}
