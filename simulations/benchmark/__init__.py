"""How good the tables are: arms, budgets and seeds on clinical tables, side by side.

Every arm trains on the same 80 % of the rows, declares exactly so many, draws as many synthetic rows, and is measured
against those rows and the held-out 20 %. Drafted schemas are read off the whole table, for every arm alike: here bounds
and categories count as public, and tables are compared as the schema sees them.
"""
