"""Compare synthetic tables: arms, budgets and seeds on clinical tables.

Every arm trains on the same 80 % of the rows, declares exactly that many, draws that many synthetic rows, and is
measured against those rows and the held-out 20 %. Schemas are drafted from the whole table, for every arm alike: here
bounds and categories count as public, and tables are compared as the schema sees them.
"""
