"""The words that stand before phone numbers in each language, and the countries whose numbers its texts give.

The countries of a language are those where it is official: all of them in Europe, and the largest elsewhere, which write most of the web's
text in English, Spanish and Portuguese. Numbers of other countries are found by their country code or after a label.

A word is given by its beginning in lower case, as a regular expression in which "_" stands for a space: "volej" is found in "Volejte".
Inflected forms and compounds need an entry of their own only if they begin differently.
"""

# Labels of all languages. After a label, a number may have another form than the usual one of its country.
LABELS = (
    r"tels?\b|tele?[- ]?n[ro]\b|telf|telef|teleph|teléf|telèf|téléf|téléph|tél\b|tel[eé]m|telm|tlf|tfno?|mob\b|mobi[lt]|mobiel|m[oó]vil|"
    r"gsm|fax|faks|facs|ph\b|phone|whatsapp|viber|[tfm](?=:)|(?<=\n)[tfm](?= \Z)|kom\b(?=[.:])|тел\b|телеф|тэл|моб\b|факс|[τt]ηλ|κιν\b|"
    r"κινητ|φ[αά]ξ|puh\b|puhel|tālr|tálv|teil\b|b?h?fón|fh?acs|sím[ai]|ტელ|ფაქს|հեռ|ֆաքս"
)
INSIDE = r"telef|teleph|téléph|phone|handy|hotline|rufnummer|puhel|tālru"  # labels that may also be a later part of a compound
# Words of all languages.
COMMON = r"[sz]?[ck]onta[ck]t|sms\b|cell?\b|hotline|helpline|info-?lin|call"

_BALKAN = r"naz(?:ov|vat|iv) zov zvat zva?n poz[io]v pozvat (?:na)?jav[il] dobit biraj na_broj linij central"
_BALKAN_CYRILLIC = r"назов назва назив зов зват позов позив позва јав на_број лини централ тел моб контакт вајбер"
_ITALIAN = r"(?:ri)?chiam ciam contatt centralin numero_verde a[li]_numer[oi] recapit utenz compo[nr] rete_fissa fisso cellul natel"
_NORWEGIAN = r"ring nå\b nås? sentralbord vakt kundeservice direkte"

_TABLE = {
    "bul_Cyrl": ("BG", r"мобил обад обажд \w{0,3}звън повик набер горещ лини контакт свърж свържете връзк кол_център на_номер вайбър"),
    "ces_Latn": (
        "CZ",
        r"t\.\s?č \w{0,4}vol(?:ej|a[tl]|á) link[auyo] lince ústředn vytoč spojovatel ozv záznamník pevn klapk na_(?:\w+_)?čísl",
    ),
    "dan_Latn": ("DK", r"ring opkald opring et_kald træff på_n vagt kundeservice direkte"),
    "deu_Latn": (
        "DE AT CH LI BE IT LU",
        r"ruf(?!d) anruf rückruf zurückruf anzuruf angeruf durchwahl fon\b fernruf fernsprech fernmünd festnetz handy funk\b funktel "
        r"kundenservice kundendienst zentrale unter erreich wähl notruf natel",
    ),
    "ell_Grek": ("GR CY", r"καλ[έεώ] κάλεσ κλ[ήη]σ επικοιν γραμμ σταθερ στ(?:ον|ο|ους)_αριθμ"),
    "eng_Latn": ("IE MT GB US", r"ring dial text_(?:us|me|or|on) reach freephone toll landline lines?\b give_us"),
    "spa_Latn": ("ES MX AR CO", r"ll[aá]m fono\b centralita marc[aou] marque cel\b celul línea al_número"),
    "ekk_Latn": ("EE", r"helist \w*lii?n lauatel numbri valve ühendus"),
    "fin_Latn": ("FI", r"puh\b soit yhtey numero(?:on|sta|ssa|ihin) vaihde kännyk tavoit tekstiv päivyst asiakaspalvelu"),
    "fra_Latn": (
        "FR BE CH MC LU",
        r"tél téléc appel joindre joign portable standard répond au_num[ée]ro "
        r"num[ée]ro_(?:vert|gratuit|d'app) compos coup_de fixe permanence natel",
    ),
    "gle_Latn": ("IE GB", r"[dt]?h?teil theil n?gh?lao n?gh?uth scair m?h?óib d?th?eagmh teagmh soghl uimhir diail líne línte"),
    "hrv_Latn": ("HR BA", _BALKAN),
    "hun_Latn": ("HU", r"(?:fel|vissza)?h[ií]v(?!e) tárcs csör vezetékes zöld_szám kék_szám ügyel elérhet érdekl kapcsol vonal"),
    "ita_Latn": ("IT CH SM", _ITALIAN),
    "lit_Latn": ("LT", r"\w{0,3}skamb \w{0,2}rinkit susisie kreip linij numeri trump"),
    "lvs_Latn": ("LV", r"t\. \w{0,3}zvan sazin pa_num"),
    "mlt_Latn": ("MT", r"ċemp ċempl cemp i?k?kuntatt ddajlj mowb sejħ linj num?ru"),
    "nld_Latn": (
        "NL BE",
        r"(?:op|terug|na)?bel(?:t|len|lers?)?\b gebeld belafspr app_naar belteam bereik doorkies meldpunt op_(?:het_)?\w*nummer",
    ),
    "pol_Latn": ("PL", r"kom[óo]r \w{0,4}dzwo wykrę lini[aeęi] połącz pod_n rozmow central"),
    "por_Latn": ("PT BR", r"tlm lig(?:ue|a|á) disque fale contat cel\b celul linha chama atend"),
    "ron_Latn": ("RO MD", r"apel sun[aăâ] linia? la_num forma[țţt]i central fix\b"),
    "slk_Latn": ("SK", r"t\.\s?č \w{0,4}vol(?:aj|a[tl]|á) link[auyeo] ústredň vytoč spojovatel ozv záznamník pevn klapk na_(?:\w+_)?čísl"),
    "slv_Latn": ("SI", r"(?:po)?kli[čc] pokli dosegljiv na_(?:\w+_)?številk brezplačn central govor stacionarn linij"),
    "swe_Latn": ("SE FI", r"ring nå\b nås slå en_signal växel kundtjänst kundservice direkt"),
    "als_Latn": ("AL XK MK", r"cel\b thirr numr lini"),
    "bos_Latn": ("BA HR", _BALKAN),
    "hbs_Latn": ("HR BA RS ME", _BALKAN),
    "cnr_Latn": ("ME", _BALKAN),
    "kat_Geor": ("GE", r"მობ და\w{0,4}რეკ რეკ დაგვიკავ ნომ კონტაქტ ცხელ ხაზ"),
    "mkd_Cyrl": ("MK", rf"{_BALKAN_CYRILLIC} повик ѕвон обрат"),
    "srp_Cyrl": ("RS BA ME", _BALKAN_CYRILLIC),
    "srp_Latn": ("RS BA ME", _BALKAN),
    "tur_Latn": ("TR CY", r"cep\b ara[ymn] numara hat\b hatt çağrı iletiş santral danış"),
    "ukr_Cyrl": ("UA", r"моб \w{0,4}дзв[оі]н зателеф звер контакт ліні номер гаряч зв.яз"),
    "arg_Latn": ("ES", "clamar"),
    "ast_Latn": ("ES", "llam"),
    "bel_Cyrl": ("BY", "тел патэлеф моб зван звяз кантакт нумар"),
    "bre_Latn": ("FR", "pellgomz pgz"),
    "cat_Latn": ("ES AD FR", "mòbil tru[cq] crid línia"),
    "cos_Latn": ("FR", f"{_ITALIAN} chjam"),
    "cym_Latn": ("GB", "ffôn ffon galw ch?ysyllt ff[ae]cs deial"),
    "eus_Latn": ("ES FR", r"deitu dei\b mug\b mugikor sakelako"),
    "fao_Latn": ("FO DK", "ring"),
    "fry_Latn": ("NL", "bel skilje"),
    "fur_Latn": ("IT", _ITALIAN),
    "gla_Latn": ("GB", r"fòn fon\b"),
    "glg_Latn": ("ES", "móbil cham liña"),
    "gsw_Latn": ("CH DE AT LI FR", "natel aalüt ruef handy"),
    "hye_Armn": ("AM", "բջջ զանգ կապ"),
    "isl_Latn": ("IS", "sím hring far?sím samband"),
    "lij_Latn": ("IT", _ITALIAN),
    "lmo_Latn": ("IT CH", _ITALIAN),
    "ltg_Latn": ("LV", "zvon"),
    "ltz_Latn": ("LU", "u?ruff handy"),
    "nno_Latn": ("NO", _NORWEGIAN),
    "nob_Latn": ("NO", _NORWEGIAN),
    "oci_Latn": ("FR ES IT", "sonar son[ae]tz truc"),
    "roh_Latn": ("CH", "clom natel"),
    "scn_Latn": ("IT", _ITALIAN),
    "sme_Latn": ("NO SE FI", "ring riŋ"),
    "srd_Latn": ("IT", f"{_ITALIAN} mutt"),
    "vec_Latn": ("IT", _ITALIAN),
    "wln_Latn": ("BE", "houk"),
}

NATIONS: dict[str, tuple[str, ...]] = {language: tuple(nations.split()) for language, (nations, _) in _TABLE.items()}
WORDS: dict[str, str] = {language: "|".join(words.split()).replace("_", r"\s") for language, (_, words) in _TABLE.items()}

# Words that follow a number, in languages that put the word after it.
AFTER = {
    "hun_Latn": r"(?:-?[^\W\d_]{1,3})?\s(?:[^\W\d_]+\s)?(?:telef|szám|mobil|vonal|fax)",
    "tur_Latn": r"(?:['’][^\W\d_]{1,4})?\s(?:numara|nolu|no'?lu|telef|hat)",
    "eus_Latn": r"(?:-?[^\W\d_]{1,3})?\s(?:[^\W\d_]+\s)?(?:telef|zenbaki)",
}
