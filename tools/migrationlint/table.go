package main

import (
	ast "github.com/pganalyze/pg_query_go/v6"
)

// constraints are those of all migrations so far, by table and name.
type constraints map[string]constraint

type constraint struct {
	kind      ast.ConstrType
	notNull   string // the column, if it is CHECK (column IS NOT NULL)
	validated bool
	file      string // where it was added
}

func (c constraints) key(table, name string) string { return table + "." + name }

// provesNotNull reports whether a validated constraint says that a column has
// no nulls: then SET NOT NULL reads no row.
func (c constraints) provesNotNull(table, column string) bool {
	for key, constraint := range c {
		if constraint.validated && constraint.notNull == column && key[:len(table)+1] == table+"." {
			return true
		}
	}
	return false
}

// alterTable looks at each part of an ALTER TABLE.
func (f *file) alterTable(n *ast.AlterTableStmt) {
	table := nameOf(n.GetRelation())
	if n.GetObjtype() != ast.ObjectType_OBJECT_TABLE {
		f.report("unknown", "no rule knows how to alter this; teach tools/migrationlint when it is safe")
		return
	}
	for _, node := range n.GetCmds() {
		command := node.GetAlterTableCmd()
		if f.created[table] {
			f.remember(table, command)
			continue
		}
		f.alter(table, command)
		f.remember(table, command)
	}
}

func (f *file) alter(table string, command *ast.AlterTableCmd) {
	if command.GetSubtype() != ast.AlterTableType_AT_ValidateConstraint { // which lets readers and writers pass
		f.holds(table)
	}
	switch command.GetSubtype() {
	case ast.AlterTableType_AT_AddColumn:
		f.addColumn(table, command.GetDef().GetColumnDef())
	case ast.AlterTableType_AT_DropColumn:
		if !f.contracted() {
			f.report("drop", "%s.%s may be in use: it goes one release after the one that stopped using it, marked `-- contract: unused since VERSION`", table, command.GetName())
		}
	case ast.AlterTableType_AT_AlterColumnType:
		f.report("column-type", "add a column of the new type beside %s, and move over in steps", command.GetName())
	case ast.AlterTableType_AT_SetNotNull:
		f.requires(table, command.GetName())
		if !f.known.provesNotNull(table, command.GetName()) {
			f.report("set-not-null", "first, in migrations of their own: ADD CHECK (%s IS NOT NULL) NOT VALID, then VALIDATE CONSTRAINT", command.GetName())
		}
	case ast.AlterTableType_AT_AddConstraint:
		f.addConstraint(table, command.GetDef().GetConstraint())
	case ast.AlterTableType_AT_ValidateConstraint:
		added := f.known[f.known.key(table, command.GetName())]
		if f.atomic && added.file == f.name {
			f.report("constraint", "VALIDATE %s in a migration of its own: this one holds the lock of adding it until all rows are read", command.GetName())
		}
	case ast.AlterTableType_AT_DropConstraint:
		f.dropConstraint(table, command.GetName())
	case ast.AlterTableType_AT_ColumnDefault, ast.AlterTableType_AT_DropNotNull,
		ast.AlterTableType_AT_SetStatistics, ast.AlterTableType_AT_SetRelOptions, ast.AlterTableType_AT_ResetRelOptions:
		// Only the catalogue changes, and what was written before still fits.
	default:
		f.report("unknown", "no rule knows this change of %s; teach tools/migrationlint when it is safe", table)
	}
}

// addColumn wants a column that the old release need not know: null, or filled
// with one value that is kept in the catalogue.
func (f *file) addColumn(table string, column *ast.ColumnDef) {
	name := column.GetColname()
	f.columns[table+"."+name] = f.name
	if isSerial(column.GetTypeName()) {
		f.report("add-column", "%s is serial: every row gets a number, which rewrites the table", name)
	}
	notNull, filled := false, false
	for _, node := range column.GetConstraints() {
		switch c := node.GetConstraint(); c.GetContype() {
		case ast.ConstrType_CONSTR_NOTNULL:
			notNull = true
		case ast.ConstrType_CONSTR_DEFAULT:
			filled = !isNull(c.GetRawExpr())
			if !isConstant(c.GetRawExpr()) {
				f.report("add-column", "the default of %s may differ from row to row, which rewrites the table: add it without, then SET DEFAULT", name)
			}
		case ast.ConstrType_CONSTR_IDENTITY, ast.ConstrType_CONSTR_GENERATED:
			filled = true
			f.report("add-column", "%s is generated: the table is rewritten", name)
		case ast.ConstrType_CONSTR_NULL, ast.ConstrType_CONSTR_ATTR_NOT_DEFERRABLE, ast.ConstrType_CONSTR_ATTR_IMMEDIATE:
		default:
			f.addConstraint(table, c)
		}
	}
	if notNull && !filled {
		f.report("add-column", "%s is NOT NULL without a default: what the old release inserts has none", name)
	}
}

func (f *file) addConstraint(table string, c *ast.Constraint) {
	for _, column := range notNullColumns(c.GetRawExpr()) {
		f.requires(table, column)
	}
	switch c.GetContype() {
	case ast.ConstrType_CONSTR_CHECK, ast.ConstrType_CONSTR_FOREIGN:
		if !c.GetSkipValidation() {
			f.report("constraint", "ADD CONSTRAINT … NOT VALID, and VALIDATE CONSTRAINT in a later migration")
		}
	case ast.ConstrType_CONSTR_UNIQUE, ast.ConstrType_CONSTR_PRIMARY:
		if c.GetIndexname() == "" {
			f.report("constraint", "build a unique index CONCURRENTLY, then ADD CONSTRAINT … USING INDEX")
		}
	default:
		f.report("constraint", "every row is checked under an exclusive lock")
	}
}

// requires refuses to demand a column of everybody that only the next release
// will write: even a constraint that is NOT VALID holds for what is inserted.
func (f *file) requires(table, column string) {
	added, ok := f.columns[table+"."+column]
	if !ok {
		return
	}
	from, here := f.past.find(added), f.past.find(f.name)
	if here < 0 {
		here = len(f.past.events)
	}
	if from < 0 || from > here || !f.past.releasedBetween(from, here) {
		f.report("set-not-null", "%s came with %s, which is not released: the release that serves does not write it yet", column, added)
	}
}

// dropConstraint lets go what only forbade something. The old release may name
// a unique one in ON CONFLICT.
func (f *file) dropConstraint(table, name string) {
	known, ok := f.known[f.known.key(table, name)]
	loosens := ok && (known.kind == ast.ConstrType_CONSTR_CHECK || known.kind == ast.ConstrType_CONSTR_FOREIGN)
	if !loosens && !f.contracted() {
		f.report("drop", "constraint %s of %s may be what an ON CONFLICT relies on; mark it `-- contract: unused since VERSION`", name, table)
	}
}

// remember notes what later statements may rely on.
func (f *file) remember(table string, command *ast.AlterTableCmd) {
	switch command.GetSubtype() {
	case ast.AlterTableType_AT_AddConstraint:
		c := command.GetDef().GetConstraint()
		f.known[f.known.key(table, c.GetConname())] = constraint{
			kind: c.GetContype(), notNull: notNullColumn(c), validated: !c.GetSkipValidation(), file: f.name,
		}
	case ast.AlterTableType_AT_ValidateConstraint:
		key := f.known.key(table, command.GetName())
		if known, ok := f.known[key]; ok {
			known.validated = true
			f.known[key] = known
		}
	case ast.AlterTableType_AT_DropConstraint:
		delete(f.known, f.known.key(table, command.GetName()))
	}
}

// notNullColumn returns x of CHECK (x IS NOT NULL).
func notNullColumn(c *ast.Constraint) string {
	if columns := notNullColumns(c.GetRawExpr()); len(columns) == 1 && c.GetRawExpr().GetNullTest() != nil {
		return columns[0]
	}
	return ""
}

// notNullColumns returns the columns that a condition demands: x and y of
// x IS NOT NULL AND y IS NOT NULL AND z > 0.
func notNullColumns(condition *ast.Node) (columns []string) {
	if test := condition.GetNullTest(); test.GetNulltesttype() == ast.NullTestType_IS_NOT_NULL {
		return []string{lastField(test.GetArg().GetColumnRef().GetFields())}
	}
	if both := condition.GetBoolExpr(); both.GetBoolop() == ast.BoolExprType_AND_EXPR {
		for _, part := range both.GetArgs() {
			columns = append(columns, notNullColumns(part)...)
		}
	}
	return columns
}
