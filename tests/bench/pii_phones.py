"""Sentences for pii.py with phone numbers {n} and {m}, in the 24 official languages of the EU. The character | stands for a line end.

The first line of a language names the countries of its numbers, which are the members of the EU where the language is official. The
sentences resemble those of web pages and were not made from the words that the search looks for. Many words are inflected or compounds.
"""

SENTENCES = {
    "bul_Cyrl": """BG
Тел.: {n}
За връзка с нас: тел./факс {n}
Обадете се на {n} всеки делничен ден.
Можете да ни намерите и на мобилния телефон {n} или {m}.
Телефонът на дежурния лекар е {n}.
Моб. {n}, {m}
Позвънете на безплатния номер {n}, за да запазите час.
Въпроси по поръчки (понеделник – петък, 9 – 17 ч.) на телефони {n} и {m}.
Записване на час: тел. 0888 (само SMS) или {n}
Потърсете ни по телефона – {n}, всеки ден от 8:00 до 18:00 часа.
Сигнали се приемат на денонощния телефонен пост {n}
Директорът, мобилен: {n}, факс в канцеларията: {m}
Подайте сигнал на телефонния ни секретар: {n}
Собственикът моли да му се обади всеки, който е видял кучето – {n}""",
    "ces_Latn": """CZ
Tel.: {n}
Zavolejte nám na {n} a domluvíme si schůzku.
Rezervace přijímáme telefonicky na čísle {n}, nebo osobně.
Telefony: {n}, {m}
Infolinka (po–pá 8–16 h): {n}
Novákovi zatelefonujte na {n} nebo {m}.
Pokud se nedovoláte, pošlete fax na {n}.
Mobil:|{n}
Kancelář ředitele, telefonní linka {n}
Objednávky pečiva přijímá paní Nováková od 7 do 15 hodin na telefonním čísle {n}.
Potřebujete poradit? Dejte nám vědět na mobil {n} či {m}.
Spojovatelka: {n}, fax: {m}
Viděl jste ho? Dejte vědět policii, telefonujte na {n}.
Mobilní kontakt na průvodce: {n}, do kanceláře {m}""",
    "dan_Latn": """DK
Tlf. {n}
Ring til os på {n} mellem kl. 9 og 15.
Du kan kontakte afdelingen på {n} eller {m}.
Mobil {n}, fax {m}
Har du spørgsmål, er du velkommen til at ringe på {n}.
Vores telefoner er åbne alle hverdage: {n}
Tlf.nr.: {n} / {m}
Bestil tid telefonisk hos sekretæren på {n}.
Lægevagten har telefonnummeret {n}.
Vi træffes bedst på mobilen: {n}
Afbud skal meddeles pr. telefon til klinikken, {n}, senest dagen før.
Direkte nr. {n}, fax nr. {m}
Sms eller ring på mobilnummeret {n}
Klubbens formand, Per Jensen (telefon {n}), oplyser mere.""",
    "deu_Latn": """DE AT BE LU
Tel.: {n}
Telefon {n}, Telefax {m}
Rufen Sie uns einfach an: {n}
Unsere Servicehotline erreichen Sie unter {n}.
Bei Rückfragen wenden Sie sich telefonisch an Frau Huber ({n}).
Mobil: {n} oder {m}
Die Durchwahl des Sekretariats lautet {n}.
Fon:|{n}
Anmeldung bei Frau Müller, Tel. priv. {n}, dienstl. {m}
Die Notrufzentrale ist rund um die Uhr telefonisch erreichbar: {n}
Termine vereinbaren Sie bitte vormittags per Telefon zwischen 8.00 und 12.00 Uhr ({n}).
Fernmündliche Auskunft erteilt Herr Maier, {n}
Hinweise nimmt die Polizei Linz fernmündlich oder per Fax entgegen: {n}
Meine Handynr. lautet {n}, im Büro bin ich über {m} zu erreichen.""",
    "ell_Grek": """GR CY
Τηλ.: {n}
Τηλέφωνο επικοινωνίας: {n}
Καλέστε μας στο {n} καθημερινά.
Κιν. {n}, φαξ {m}
Για πληροφορίες τηλεφωνήστε στους αριθμούς {n} και {m}.
Μπορείτε να μας βρείτε στα τηλέφωνα {n}, {m}.
Το κινητό του υπευθύνου είναι {n}.
Η τηλεφωνική γραμμή {n} λειτουργεί όλο το 24ωρο.
Ραντεβού τηλεφωνικώς στο {n}.
Αρ. τηλ.: {n}, αρ. φαξ: {m}
Επικοινωνήστε μαζί μας στον αριθμό {n} από τις 9 έως τις 5.
Δηλώσεις συμμετοχής στο τηλέφωνο του συλλόγου, {n}
Κλείστε ραντεβού μέσω τηλεφώνου: {n}
Τηλεφωνικό κέντρο {n}, τηλεομοιοτυπία {m}""",
    "eng_Latn": """IE MT
Tel: {n}
Call us on {n} to book a table.
You can reach our office by telephone at {n} on weekdays.
Mobile {n}, fax {m}
Ring {n} and ask for Mary.
Anyone with information is asked to contact Gardaí in Cork on {n}.
Telephone numbers: {n} or {m}
Text or phone Patrick ({n}) before Friday.
For bookings give us a shout on {n}.
Our lines are open 9-5: {n} or {m}
Ph. {n} (after hours {m})
Anyone who saw the crash should get in touch with Gardaí at Tallaght garda station by telephoning {n}.
Enquiries to the parish office, telephone no. {n}
Mobile coverage permitting, you can get me on my mobile, {n}.""",
    "spa_Latn": """ES
Tel.: {n}
Teléfono de contacto: {n}
Llámenos al {n} de lunes a viernes.
Tfno. {n} / {m}
Puede pedir cita previa llamando al {n} o al {m}.
Atención telefónica (9:00-14:00 h): {n}
Los teléfonos del ayuntamiento son el {n} y el {m}.
Fax:|{n}
Si desea más información, póngase en contacto telefónico con nosotros: {n}
Para reservar mesa marque el {n}.
Urgencias 24 h, telf. {n} y {m}
Puede telefonear a nuestra oficina de Sevilla: {n}
Mi móvil es el {n} y el de casa {m}.""",
    "ekk_Latn": """EE
Tel {n}
Helista meile numbril {n} ja broneeri aeg.
Mob: {n}, faks: {m}
Lisainfo saab telefonidel {n} ja {m}.
Küsimuste korral helistage sekretärile {n}.
Meie infotelefon {n} on avatud tööpäeviti.
Tel. {n}, {m}
Broneeringud telefoni teel: {n}
Perearsti nõuandeliin {n} vastab ööpäev läbi.
Kui soovid lisainfot, siis võta meiega ühendust tel. {n} või {m}.
Valvearsti number on {n}, helistada võib alati.
Ootame teie kõnet telefoninumbril {n}
Kooli kantselei telefon on {n} ja direktori mobiil {m}.""",
    "fin_Latn": """FI
Puh. {n}
Soita meille numeroon {n} arkisin.
Voit varata ajan puhelimitse numerosta {n} tai {m}.
Matkapuhelin {n}, faksi {m}
Ilmoittautumiset soittamalla {n}.
Puhelinvaihteemme {n} palvelee klo 8–16.
Tavoitat hänet puhelinnumeroista {n} ja {m}.
Ajanvaraus puh. {n} (ma–pe klo 8–12)
Toimistomme tavoittaa arkipäivisin puhelimella {n}.
Ota yhteyttä isännöitsijään, p. {n}.
Voit myös lähettää tekstiviestin numeroon {n} tai {m}.
Asiakaspalvelumme puhelinnumero on {n}.
Soittakaa rohkeasti: {n} tai {m}""",
    "fra_Latn": """FR BE LU
Tél. : {n}
Téléphone : {n}
Appelez-nous au {n} pour prendre rendez-vous.
Tél./Fax {n} ou {m}
Vous pouvez joindre le secrétariat au {n}.
Renseignements et réservations par téléphone au {n} ou au {m}.
Numéro gratuit (appel non surtaxé) : {n}
Prenez rendez-vous en téléphonant au {n}.
Secrétariat ouvert du lundi au vendredi, tél. direct {n}
Pour toute question, un conseiller vous répond au {n} (prix d'un appel local).
Mobile : {n} - Fixe : {m}
Laissez un message sur le répondeur téléphonique : {n}
Vous pouvez également téléphoner à la mairie ({n}) ou envoyer un fax au {m}.""",
    "gle_Latn": """IE
Teil: {n}
Fón: {n}
Cuir glao orainn ar {n}.
Glaoigh ar {n} nó ar {m} le tuilleadh eolais a fháil.
Guthán: {n} Facs: {m}
Is féidir labhairt linn ar an bhfón ag {n}.
Déan teagmháil leis an oifig ag {n}.
Cuir scairt orainn ar an uimhir {n} idir 9 agus 5.
Línte cabhrach: {n} nó {m}
Tuilleadh eolais ón rúnaí, teil. {n}
Má tá ceist agat, glaoigh ar an oifig ar {n}.
Tabhair glaoch dom ar m'fhón póca, {n}
Tá an oifig ar fáil ar an nguthán: {n}""",
    "hrv_Latn": """HR
Tel.: {n}
Telefon: {n}, faks: {m}
Nazovite nas na {n} radnim danom.
Za sve informacije obratite se telefonom na broj {n}.
Rezervacije na mobitel {n}.
Kontakt telefoni: {n}, {m}
Možete nas dobiti pozivom na {n}.
Javite se Ivani na {n}.
Upisi se vrše osobno ili telefonski na {n}.
Dežurna služba dostupna je na telefonu {n} od 0 do 24 sata.
Kućni tel. {n}, mobilni {m}
Za pitanja zovite tajništvo: {n}
Ostavite poruku na telefonskoj sekretarici, {n}
Za narudžbe nam telefonirajte na {n} ili pošaljite faks na {m}.""",
    "hun_Latn": """HU
Tel.: {n}
Telefon/fax: {n}
Hívjon minket a {n} számon!
Érdeklődni lehet a {n} telefonszámon.
Bejelentkezés telefonon: {n}
A diszpécserszolgálat telefonszáma {n}.
Ügyfélszolgálatunk hívható a következő számokon: {n}, {m}
Kérdés esetén keresse kollégánkat telefonon ({n}).
Időpontot a rendelő {n} telefonján lehet kérni.
Vezetékes: {n}, mobil: {m}
Kérjük, jelentkezzen a {n} számú telefonon hétköznap 8 és 16 óra között!
Telefonos ügyfélszolgálat: {n}
A mobilom: {n}, otthoni telefonom: {m}
Foglalás kizárólag telefonon lehetséges: {n}""",
    "ita_Latn": """IT
Tel. {n}
Telefono: {n} – Fax: {m}
Chiamaci al {n} per un preventivo.
Per informazioni telefonare al {n} o al {m}.
Potete contattare la segreteria ai numeri {n} e {m}.
Prenotazioni telefoniche (ore 9-13): {n}
Cellulare:|{n}
Per prenotare la visita comporre il {n}.
Segreteria: tel. e fax {n}
Il nostro centralino risponde al numero {n} dalle 9 alle 18.
Info e iscrizioni: Maria {n} (cell.), Luca {m} (ufficio)
Telefonateci ai numeri {n} o {m}.
Il recapito telefonico del medico di guardia è {n}.""",
    "lit_Latn": """LT
Tel. {n}
Telefonas: {n}
Skambinkite {n} darbo dienomis.
Tel./faks. {n}, {m}
Daugiau informacijos teikiama telefonu {n}.
Galite paskambinti telefonais {n} arba {m}.
Dėl registracijos susisiekite su mumis numeriu {n}.
Registruotis galima tel. Nr. {n}
Jei turite klausimų, rašykite arba skambinkite mums tel. {n}, mob. {m}
Karštoji linija {n} veikia visą parą.
Apie pažeidimus prašome pranešti pasitikėjimo telefonu: {n}
Mano mobiliojo numeris {n}
Skambindami telefonu {n} gausite nemokamą konsultaciją, o faksu {m} galite siųsti dokumentus.""",
    "lvs_Latn": """LV
Tālr. {n}
Zvaniet mums pa tālruni {n} darba dienās.
Tel.: {n}, fakss: {m}
Informācija pa tālruņiem {n} un {m}.
Jautājumu gadījumā piezvaniet sekretārei: {n}
Uzziņas pa telefonu {n}.
Pieteikties var, zvanot uz numuru {n}.
Diennakts palīdzības tālrunis: {n}
Ja rodas jautājumi, zvani {n} vai {m}.
Kontakttālruņi: {n}, {m}
Zvanot pa bezmaksas tālruni {n}, saņemsiet atbildes.
Mana mobilā tālruņa numurs ir {n}""",
    "mlt_Latn": """MT
Tel: {n}
Telefown: {n}
Ċempel fuq {n} biex tibbukkja.
Mob: {n} / {m}
Għal aktar informazzjoni ċemplu fuq {n} jew {m}.
Tista' tikkuntattjana bit-telefon fuq {n}.
Mowbajl {n}, faks {m}
Ikkuntattja lill-uffiċċju tagħna fuq {n}.
Għall-prenotazzjonijiet ċemplilna fuq {n}.
Numri tat-telefon tal-kunsill: {n} u {m}
Ikkuntattjawna permezz tat-telefown {n} bejn id-9 u l-5.
Il-mobile tiegħi huwa {n}
Għat-telefonati mill-barra: {n}, feks {m}""",
    "nld_Latn": """NL BE
Tel. {n}
Bel ons op {n} voor een afspraak.
Mobiel {n}, fax {m}
U kunt de balie telefonisch bereiken op {n}.
Meer weten? Bel naar {n} of {m}.
GSM: {n}
Voor vragen kunt u telefonisch contact opnemen met Jan de Vries ({n}).
Onze klantenservice is bereikbaar via {n}.
Tel. kantoor: {n}, privé: {m}
Maak een belafspraak: {n}
Mijn mobiele nummer is {n}.
Faxen kan naar {n}, telefoneren naar {m}.""",
    "pol_Latn": """PL
tel. {n}
Telefon: {n}, faks: {m}
Zadzwoń do nas: {n}
Zapisy pod numerem telefonu {n} lub {m}.
Infolinia czynna w godz. 8–18: {n}
Prosimy dzwonić na {n}.
Szczegółów udziela telefonicznie pani Anna ({n}).
Rejestracja telefoniczna w dni robocze od 8.00 do 18.00: {n}
Sekretariat, tel./fax {n}
W razie awarii prosimy o kontakt telefoniczny pod nr {n} lub {m}.
Telefon dyżurny (całodobowy) – {n}
Telefonować można pod {n}.
Mój numer komórkowy: {n}, stacjonarny: {m}""",
    "por_Latn": """PT
Tel.: {n}
Ligue para o {n} e marque a sua consulta.
Telemóvel: {n} / {m}
Contacte-nos através do número {n}.
Telef. {n}, fax {m}
Os interessados devem telefonar para o {n} ou {m}.
Contacto telefónico (dias úteis, 9h-18h): {n}
Marcações pelo telefone {n} ou no local.
Para mais informações contactar a secretaria (tel. {n}).
Linha de apoio ao cliente: {n}
Pode ligar-nos todos os dias das 9h às 20h: {n} ou {m}
Telefone-nos: {n}
O meu número de telemóvel é o {n} e o do escritório {m}.""",
    "ron_Latn": """RO
Tel.: {n}
Telefon: {n}, fax: {m}
Sunați-ne la {n} de luni până vineri.
Pentru programări apelați {n} sau {m}.
Ne puteți contacta la numărul de telefon {n}.
Rezervări la telefoanele {n}, {m}.
Informații suplimentare puteți obține telefonic ({n}).
Relații la tel. {n}, între orele 9 și 17.
Dacă aveți întrebări, ne puteți suna la {n} sau {m}.
Dispecerat non-stop: telefon {n}
Pentru comenzi telefonice formați {n}
Telefonați la sediul nostru: {n}
Numărul meu de mobil este {n}, iar cel fix {m}.""",
    "slk_Latn": """SK
Tel.: {n}
t. č.: {n}
Zavolajte nám na {n} a dohodnite si termín.
Mobil: {n}, {m}
Objednať sa môžete telefonicky na čísle {n}.
V prípade otázok volajte {n} alebo {m}.
Bezplatná infolinka {n}
Kontaktná osoba: Ing. Kováč, č. tel. {n}
V súrnych prípadoch volať na mobilný telefón {n}.
Objednávky prijímame aj telefonicky od 8.00 do 16.00 h: {n}
Ozvite sa nám na {n} alebo {m}.
Telefonujte na číslo {n}.
Moje mobilné číslo je {n}, do práce {m}.""",
    "slv_Latn": """SI
Tel.: {n}
Telefon: {n}, faks: {m}
Pokličite nas na {n} vsak delavnik.
Za več informacij pokličite na telefonsko številko {n}.
Mobitel {n} ali {m}
Dosegljivi smo po telefonu {n}.
Naročanje po telefonu (od 8. do 12. ure): {n}
Prijave sprejemamo po tel. {n} ali osebno.
Za pomoč kličite brezplačno telefonsko linijo {n}.
Tajništvo: tel. {n}, faks {m}
Če potrebujete nasvet, nam telefonirajte na {n}.
Moja mobilna številka je {n}, v službi pa {m}.
Telefonirajte nam: {n}""",
    "swe_Latn": """SE FI
Tel. {n}
Ring oss på {n} så hjälper vi dig.
Tfn {n}, fax {m}
Boka tid per telefon {n} eller {m}.
Du når kundtjänsten vardagar på telefonnummer {n}.
Telefonväxeln har nummer {n}.
Välkommen att ringa Anna, {n}!
Vid akuta fel, ring jourtelefonen {n}.
Vår växel är öppen kl. 8–16: {n}
Hör av dig till Karin på mobil {n} eller {m}
Telefontid måndag–fredag kl. 8.00–9.30, telefonnr {n}
Mitt mobilnummer är {n}.
Telefonera till expeditionen, {n}, eller faxa till {m}.""",
}
