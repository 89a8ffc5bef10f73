package pool

import "strings"

// continents are the regions above countries, spelt as in the lists of the public pool, whose hyphens and underscores
// are mixed (docs/rules/pool.md#regions).
const continents = " AFRICA ANTARCTICA ASIA EUROPE NORTH-AMERICA OCEANIA SOUTH_AMERICA "

// countries are the two-letter codes of ISO 3166-1, and XK, which databases of addresses use for Kosovo.
const countries = " AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ" +
	" CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR" +
	" GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP" +
	" KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT" +
	" MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW" +
	" SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG" +
	" UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW "

// CanonicalRegion returns the one spelling of a region: a country's code in capitals, or a continent, for which any
// mixture of case, hyphens, underscores and blanks is taken. False for anything else.
func CanonicalRegion(name string) (string, bool) {
	upper := strings.ToUpper(name)
	if len(upper) == 2 && strings.Contains(countries, " "+upper+" ") {
		return upper, true
	}
	if len(upper) > 2 && strings.Contains(continents, " "+upper+" ") && !strings.Contains(upper, " ") {
		return upper, true
	}
	plain := strings.NewReplacer("-", "", "_", "", " ", "").Replace(upper)
	for _, c := range strings.Fields(continents) {
		if strings.NewReplacer("-", "", "_", "").Replace(c) == plain {
			return c, true
		}
	}
	return "", false
}

// Continent is the region of a continent's two letters in databases of addresses; empty for anything else.
func Continent(code string) string {
	switch code {
	case "AF":
		return "AFRICA"
	case "AN":
		return "ANTARCTICA"
	case "AS":
		return "ASIA"
	case "EU":
		return "EUROPE"
	case "NA":
		return "NORTH-AMERICA"
	case "OC":
		return "OCEANIA"
	case "SA":
		return "SOUTH_AMERICA"
	}
	return ""
}
