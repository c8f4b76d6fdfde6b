"""Sentences for pii.py that speak of telephones but contain other numbers, in the 24 official languages of the EU.

{date}, {years}, {price}, {count}, {size}, {isbn}, {issn}, {version}, {score}, {law}, {draw}, {case}, {percent}, {row}, {hours}, {imei} and
{order} are replaced with numbers of these kinds.
"""

SENTENCES = {
    "bul_Cyrl": """Телефон: {price} лв.
Мобилни телефони {years}, каталог {isbn}
Телефонната линия е открита на {date} и работи {hours} ч.
Обажданията са се увеличили с {percent} до {count} на година.
Контакт: пощенски код 1000 София, дело № {case}
Телефон, размери {size} мм, версия {version}, IMEI {imei}
Позвънете преди мача, който завърши {score}, тиражът беше {draw}.
Телефонни линии: {row}
Съгласно чл. {law} телефонните услуги, поръчка {order}, ISSN {issn}""",
    "ces_Latn": """Telefon: {price} Kč
Mobilní telefony v letech {years}, ISBN {isbn}
Volejte prosím až po {date}, otevřeno {hours}.
Počet volání vzrostl o {percent} na {count} ročně.
Kontakt: 110 00 Praha 1, č. j. {case}
Telefon má rozměry {size} mm, verzi {version} a IMEI {imei}.
Po telefonu hlásil výsledek {score}, tažená čísla {draw}.
Telefonní přístroje: {row}
Podle předpisu {law} platí telefon objednaný pod číslem {order}, ISSN {issn}""",
    "dan_Latn": """Telefon: {price} kr.
Mobiltelefoner {years}, ISBN {isbn}
Ring først efter den {date}, åbent {hours}.
Antallet af opkald steg med {percent} til {count} om året.
Kontakt: 2100 København Ø, sag nr. {case}
Telefonen måler {size} mm, version {version}, IMEI {imei}.
Han ringede under kampen, der endte {score}; lottotallene var {draw}.
Telefoner i brug: {row}
Efter {law} gælder telefonaftalen, ordre {order}, ISSN {issn}""",
    "deu_Latn": """Telefon: {price} Euro
Mobiltelefone {years}, ISBN {isbn}
Rufen Sie erst nach dem {date} an, geöffnet {hours} Uhr.
Die Zahl der Anrufe stieg um {percent} auf {count} im Jahr.
Kontakt: 10117 Berlin, Az. {case}
Das Handy misst {size} mm, Version {version}, IMEI {imei}.
Am Telefon meldete er das Ergebnis {score}, die Lottozahlen {draw}.
Telefonanschlüsse: {row}
Nach {law} gilt der Telefonvertrag, Bestellung {order}, ISSN {issn}""",
    "ell_Grek": """Τηλέφωνο: {price} €
Κινητά τηλέφωνα {years}, ISBN {isbn}
Καλέστε μετά τις {date}, ώρες {hours}.
Οι κλήσεις αυξήθηκαν κατά {percent} σε {count} τον χρόνο.
Επικοινωνία: 105 57 Αθήνα, υπόθεση {case}
Το τηλέφωνο έχει διαστάσεις {size} mm, έκδοση {version}, IMEI {imei}.
Στο τηλέφωνο είπε το σκορ {score} και την κλήρωση {draw}.
Τηλεφωνικές συνδέσεις: {row}
Κατά το {law} η τηλεφωνική σύμβαση, παραγγελία {order}, ISSN {issn}""",
    "eng_Latn": """Telephone: €{price}
Mobile phones {years}, ISBN {isbn}
Please call after {date}, open {hours}.
Calls rose by {percent} to {count} a year.
Contact: Dublin 2, case no. {case}
The phone measures {size} mm, version {version}, IMEI {imei}.
He phoned in the result {score} and the lottery numbers {draw}.
Telephone lines: {row}
Under {law} the phone contract applies, order {order}, ISSN {issn}""",
    "spa_Latn": """Teléfono: {price} euros
Teléfonos móviles {years}, ISBN {isbn}
Llame después del {date}, abierto {hours}.
Las llamadas subieron un {percent} hasta {count} al año.
Contacto: 28013 Madrid, expediente {case}
El móvil mide {size} mm, versión {version}, IMEI {imei}.
Por teléfono dio el resultado {score} y el sorteo {draw}.
Líneas de teléfono: {row}
Según {law}, el contrato de teléfono, pedido {order}, ISSN {issn}""",
    "ekk_Latn": """Telefon: {price} eurot
Mobiiltelefonid {years}, ISBN {isbn}
Helistage pärast {date}, avatud {hours}.
Kõnede arv telefonis kasvas {percent} ja on {count} aastas.
Kontakt: 10111 Tallinn, asi nr {case}
Telefoni mõõdud on {size} mm, versioon {version}, IMEI {imei}.
Telefonis ütles ta tulemuse {score} ja loto numbrid {draw}.
Telefoniliinid: {row}
Vastavalt {law} kehtib telefonileping, tellimus {order}, ISSN {issn}""",
    "fin_Latn": """Puhelin: {price} euroa
Matkapuhelimet {years}, ISBN {isbn}
Soita vasta {date} jälkeen, avoinna {hours}.
Puheluiden määrä kasvoi {percent} ja on {count} vuodessa.
Yhteystiedot: 00100 Helsinki, dnro {case}
Puhelimen mitat ovat {size} mm, versio {version}, IMEI {imei}.
Puhelimessa hän kertoi tuloksen {score} ja lottorivin {draw}.
Puhelinliittymät: {row}
Kohdan {law} mukaan puhelinsopimus, tilaus {order}, ISSN {issn}""",
    "fra_Latn": """Téléphone : {price} euros
Téléphones mobiles {years}, ISBN {isbn}
Appelez après le {date}, ouvert {hours}.
Les appels ont augmenté de {percent} à {count} par an.
Contact : 75001 Paris, dossier {case}
Le portable mesure {size} mm, version {version}, IMEI {imei}.
Au téléphone il a donné le score {score} et le tirage {draw}.
Lignes téléphoniques : {row}
Selon {law}, le contrat de téléphone, commande {order}, ISSN {issn}""",
    "gle_Latn": """Fón: €{price}
Fóin phóca {years}, ISBN {isbn}
Cuir glao tar éis {date}, oscailte {hours}.
Tháinig méadú {percent} ar ghlaonna, go {count} sa bhliain.
Teagmháil: Baile Átha Cliath 2, cás {case}
Tá an fón {size} mm, leagan {version}, IMEI {imei}.
Ar an bhfón thug sé an scór {score} agus na huimhreacha crannchuir {draw}.
Línte teileafóin: {row}
Faoi {law}, an conradh teileafóin, ordú {order}, ISSN {issn}""",
    "hrv_Latn": """Telefon: {price} eura
Mobilni telefoni {years}, ISBN {isbn}
Nazovite nakon {date}, otvoreno {hours}.
Broj poziva porastao je {percent} na {count} godišnje.
Kontakt: 10000 Zagreb, predmet {case}
Telefon mjeri {size} mm, verzija {version}, IMEI {imei}.
Telefonom je javio rezultat {score} i brojeve lota {draw}.
Telefonske linije: {row}
Prema {law} vrijedi telefonski ugovor, narudžba {order}, ISSN {issn}""",
    "hun_Latn": """Telefon: {price} Ft
Mobiltelefonok {years}, ISBN {isbn}
Hívjon {date} után, nyitva {hours}.
A hívások száma {percent} nőtt, évi {count} lett.
Kapcsolat: 1051 Budapest, ügyszám {case}
A telefon mérete {size} mm, verzió {version}, IMEI {imei}.
Telefonon mondta be az eredményt, {score}, és a lottószámokat: {draw}.
Telefonvonalak: {row}
A {law} szerint a telefonszerződés, rendelés {order}, ISSN {issn}""",
    "ita_Latn": """Telefono: {price} euro
Telefoni cellulari {years}, ISBN {isbn}
Chiamare dopo il {date}, aperto {hours}.
Le chiamate sono salite del {percent} a {count} all'anno.
Contatti: 00184 Roma, causa {case}
Il cellulare misura {size} mm, versione {version}, IMEI {imei}.
Al telefono ha detto il risultato {score} e l'estrazione {draw}.
Linee telefoniche: {row}
Secondo {law} il contratto telefonico, ordine {order}, ISSN {issn}""",
    "lit_Latn": """Telefonas: {price} eurų
Mobilieji telefonai {years}, ISBN {isbn}
Skambinkite po {date}, dirbame {hours}.
Skambučių padaugėjo {percent} iki {count} per metus.
Kontaktai: 01103 Vilnius, byla {case}
Telefono matmenys {size} mm, versija {version}, IMEI {imei}.
Telefonu jis pranešė rezultatą {score} ir loterijos skaičius {draw}.
Telefono linijos: {row}
Pagal {law} telefono sutartis, užsakymas {order}, ISSN {issn}""",
    "lvs_Latn": """Tālrunis: {price} eiro
Mobilie tālruņi {years}, ISBN {isbn}
Zvaniet pēc {date}, atvērts {hours}.
Zvanu skaits pieauga par {percent} līdz {count} gadā.
Kontakti: LV-1050 Rīga, lieta {case}
Tālruņa izmēri {size} mm, versija {version}, IMEI {imei}.
Pa tālruni viņš paziņoja rezultātu {score} un loterijas skaitļus {draw}.
Tālruņa līnijas: {row}
Saskaņā ar {law} tālruņa līgums, pasūtījums {order}, ISSN {issn}""",
    "mlt_Latn": """Telefown: €{price}
Telefowns ċellulari {years}, ISBN {isbn}
Ċempel wara {date}, miftuħ {hours}.
It-telefonati żdiedu b'{percent} għal {count} fis-sena.
Kuntatt: il-Belt Valletta, każ {case}
It-telefown fih {size} mm, verżjoni {version}, IMEI {imei}.
Bit-telefon ta r-riżultat {score} u n-numri tal-lotterija {draw}.
Linji tat-telefon: {row}
Skont {law} il-kuntratt tat-telefon, ordni {order}, ISSN {issn}""",
    "nld_Latn": """Telefoon: {price} euro
Mobiele telefoons {years}, ISBN {isbn}
Bel pas na {date}, open {hours}.
Het aantal telefoontjes steeg met {percent} tot {count} per jaar.
Contact: 1012 JS Amsterdam, zaak {case}
De telefoon meet {size} mm, versie {version}, IMEI {imei}.
Aan de telefoon gaf hij de uitslag {score} en de lottogetallen {draw}.
Telefoonlijnen: {row}
Volgens {law} geldt het telefooncontract, bestelling {order}, ISSN {issn}""",
    "pol_Latn": """Telefon: {price} zł
Telefony komórkowe {years}, ISBN {isbn}
Proszę dzwonić po {date}, czynne {hours}.
Liczba połączeń wzrosła o {percent} do {count} rocznie.
Kontakt: 00-001 Warszawa, sygn. {case}
Telefon ma wymiary {size} mm, wersja {version}, IMEI {imei}.
Przez telefon podał wynik {score} i liczby lotto {draw}.
Linie telefoniczne: {row}
Zgodnie z {law} umowa telefoniczna, zamówienie {order}, ISSN {issn}""",
    "por_Latn": """Telefone: {price} euros
Telemóveis {years}, ISBN {isbn}
Ligue depois de {date}, aberto {hours}.
As chamadas subiram {percent} para {count} por ano.
Contacto: 1100-148 Lisboa, processo {case}
O telemóvel mede {size} mm, versão {version}, IMEI {imei}.
Ao telefone deu o resultado {score} e o sorteio {draw}.
Linhas de telefone: {row}
Segundo {law} o contrato de telefone, encomenda {order}, ISSN {issn}""",
    "ron_Latn": """Telefon: {price} lei
Telefoane mobile {years}, ISBN {isbn}
Sunați după {date}, deschis {hours}.
Apelurile au crescut cu {percent} la {count} pe an.
Contact: 010011 București, dosar {case}
Telefonul măsoară {size} mm, versiunea {version}, IMEI {imei}.
La telefon a spus scorul {score} și extragerea {draw}.
Linii telefonice: {row}
Conform {law} contractul de telefonie, comanda {order}, ISSN {issn}""",
    "slk_Latn": """Telefón: {price} eur
Mobilné telefóny {years}, ISBN {isbn}
Volajte až po {date}, otvorené {hours}.
Počet hovorov po telefóne stúpol o {percent} na {count} ročne.
Kontakt: 811 01 Bratislava, sp. zn. {case}
Telefón má rozmery {size} mm, verziu {version} a IMEI {imei}.
Po telefóne hlásil výsledok {score}, žrebované čísla {draw}.
Telefónne linky: {row}
Podľa {law} telefónna zmluva, objednávka {order}, ISSN {issn}""",
    "slv_Latn": """Telefon: {price} evrov
Mobilni telefoni {years}, ISBN {isbn}
Pokličite po {date}, odprto {hours}.
Število klicev je zraslo za {percent} na {count} letno.
Kontakt: 1000 Ljubljana, zadeva {case}
Telefon meri {size} mm, različica {version}, IMEI {imei}.
Po telefonu je sporočil izid {score} in številke lota {draw}.
Telefonske linije: {row}
Po {law} velja telefonska pogodba, naročilo {order}, ISSN {issn}""",
    "swe_Latn": """Telefon: {price} kr
Mobiltelefoner {years}, ISBN {isbn}
Ring först efter {date}, öppet {hours}.
Antalet samtal per telefon ökade med {percent} till {count} om året.
Kontakt: 111 20 Stockholm, mål nr {case}
Telefonen mäter {size} mm, version {version}, IMEI {imei}.
I telefon gav han resultatet {score} och lottoraden {draw}.
Telefonlinjer: {row}
Enligt {law} gäller telefonavtalet, order {order}, ISSN {issn}""",
}
