"""Countries by their code, as in addresses. Babel's list is that of Unicode's CLDR."""

from babel import Locale

# Groups of countries, parts of one, and codes for tests and for unknown regions.
NOT_COUNTRIES = frozenset("CP CQ DG EA EU EZ IC QO UN XA XB ZZ".split())
COUNTRY_NAMES = {  # English names by ISO 3166 code, by name
    code: name
    for code, name in sorted(Locale("en").territories.items(), key=lambda territory: territory[1])
    if len(code) == 2 and code not in NOT_COUNTRIES
}
