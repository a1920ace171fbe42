# ruff: noqa: RUF001 - names in their own scripts
"""Weekdays and months in the languages that cron-descriptor supports.

cron-descriptor takes these names from the process's LC_TIME, so that a German sentence
may contain English days; the names here do not depend on the machine. Weekdays begin
with Sunday.

Source: Unicode CLDR, the stand-alone wide names; the long display names of units and
the "or" of lists.
"""

from __future__ import annotations

# By locale: seven weekdays, twelve months.
NAMES: dict[str, tuple[str, str]] = {
    "cs_CZ": (
        "neděle|pondělí|úterý|středa|čtvrtek|pátek|sobota",
        "leden|únor|březen|duben|květen|červen|červenec|srpen|září|říjen|listopad|prosinec",
    ),
    "da_DK": (
        "søndag|mandag|tirsdag|onsdag|torsdag|fredag|lørdag",
        "januar|februar|marts|april|maj|juni|juli|august|september|oktober|november|december",
    ),
    "de_DE": (
        "Sonntag|Montag|Dienstag|Mittwoch|Donnerstag|Freitag|Samstag",
        "Januar|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember",
    ),
    "el_GR": (
        "Κυριακή|Δευτέρα|Τρίτη|Τετάρτη|Πέμπτη|Παρασκευή|Σάββατο",
        "Ιανουάριος|Φεβρουάριος|Μάρτιος|Απρίλιος|Μάιος|Ιούνιος|Ιούλιος|Αύγουστος|Σεπτέμβριος|Οκτώβριος|Νοέμβριος|Δεκέμβριος",
    ),
    "en_US": (
        "Sunday|Monday|Tuesday|Wednesday|Thursday|Friday|Saturday",
        "January|February|March|April|May|June|July|August|September|October|November|December",
    ),
    "es_ES": (
        "domingo|lunes|martes|miércoles|jueves|viernes|sábado",
        "enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre",
    ),
    "es_MX": (
        "domingo|lunes|martes|miércoles|jueves|viernes|sábado",
        "enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre",
    ),
    "fa_IR": (
        "یکشنبه|دوشنبه|سه‌شنبه|چهارشنبه|پنجشنبه|جمعه|شنبه",
        "ژانویه|فوریه|مارس|آوریل|مه|ژوئن|ژوئیه|اوت|سپتامبر|اکتبر|نوامبر|دسامبر",
    ),
    "fi_FI": (
        "sunnuntai|maanantai|tiistai|keskiviikko|torstai|perjantai|lauantai",
        "tammikuu|helmikuu|maaliskuu|huhtikuu|toukokuu|kesäkuu|heinäkuu|elokuu|syyskuu|lokakuu|marraskuu|joulukuu",
    ),
    "fr_FR": (
        "dimanche|lundi|mardi|mercredi|jeudi|vendredi|samedi",
        "janvier|février|mars|avril|mai|juin|juillet|août|septembre|octobre|novembre|décembre",
    ),
    "he_IL": (
        "יום ראשון|יום שני|יום שלישי|יום רביעי|יום חמישי|יום שישי|יום שבת",
        "ינואר|פברואר|מרץ|אפריל|מאי|יוני|יולי|אוגוסט|ספטמבר|אוקטובר|נובמבר|דצמבר",
    ),
    "hu_HU": (
        "vasárnap|hétfő|kedd|szerda|csütörtök|péntek|szombat",
        "január|február|március|április|május|június|július|augusztus|szeptember|október|november|december",
    ),
    "it_IT": (
        "domenica|lunedì|martedì|mercoledì|giovedì|venerdì|sabato",
        "gennaio|febbraio|marzo|aprile|maggio|giugno|luglio|agosto|settembre|ottobre|novembre|dicembre",
    ),
    "ja_JP": (
        "日曜日|月曜日|火曜日|水曜日|木曜日|金曜日|土曜日",
        "1月|2月|3月|4月|5月|6月|7月|8月|9月|10月|11月|12月",
    ),
    "kk_KZ": (
        "жексенбі|дүйсенбі|сейсенбі|сәрсенбі|бейсенбі|жұма|сенбі",
        "Қаңтар|Ақпан|Наурыз|Сәуір|Мамыр|Маусым|Шілде|Тамыз|Қыркүйек|Қазан|Қараша|Желтоқсан",
    ),
    "ko_KR": (
        "일요일|월요일|화요일|수요일|목요일|금요일|토요일",
        "1월|2월|3월|4월|5월|6월|7월|8월|9월|10월|11월|12월",
    ),
    "nb_NO": (
        "søndag|mandag|tirsdag|onsdag|torsdag|fredag|lørdag",
        "januar|februar|mars|april|mai|juni|juli|august|september|oktober|november|desember",
    ),
    "nl_NL": (
        "zondag|maandag|dinsdag|woensdag|donderdag|vrijdag|zaterdag",
        "januari|februari|maart|april|mei|juni|juli|augustus|september|oktober|november|december",
    ),
    "pl_PL": (
        "niedziela|poniedziałek|wtorek|środa|czwartek|piątek|sobota",
        "styczeń|luty|marzec|kwiecień|maj|czerwiec|lipiec|sierpień|wrzesień|październik|listopad|grudzień",
    ),
    "pt_PT": (
        "domingo|segunda-feira|terça-feira|quarta-feira|quinta-feira|sexta-feira|sábado",
        "janeiro|fevereiro|março|abril|maio|junho|julho|agosto|setembro|outubro|novembro|dezembro",
    ),
    "ro_RO": (
        "duminică|luni|marți|miercuri|joi|vineri|sâmbătă",
        "ianuarie|februarie|martie|aprilie|mai|iunie|iulie|august|septembrie|octombrie|noiembrie|decembrie",
    ),
    "ru_RU": (
        "воскресенье|понедельник|вторник|среда|четверг|пятница|суббота",
        "январь|февраль|март|апрель|май|июнь|июль|август|сентябрь|октябрь|ноябрь|декабрь",
    ),
    "sk_SK": (
        "nedeľa|pondelok|utorok|streda|štvrtok|piatok|sobota",
        "január|február|marec|apríl|máj|jún|júl|august|september|október|november|december",
    ),
    "sl_SI": (
        "nedelja|ponedeljek|torek|sreda|četrtek|petek|sobota",
        "januar|februar|marec|april|maj|junij|julij|avgust|september|oktober|november|december",
    ),
    "sv_SE": (
        "söndag|måndag|tisdag|onsdag|torsdag|fredag|lördag",
        "januari|februari|mars|april|maj|juni|juli|augusti|september|oktober|november|december",
    ),
    "ta_IN": (
        "ஞாயிறு|திங்கள்|செவ்வாய்|புதன்|வியாழன்|வெள்ளி|சனி",
        "ஜனவரி|பிப்ரவரி|மார்ச்|ஏப்ரல்|மே|ஜூன்|ஜூலை|ஆகஸ்ட்|செப்டம்பர்|அக்டோபர்|நவம்பர்|டிசம்பர்",
    ),
    "th_TH": (
        "วันอาทิตย์|วันจันทร์|วันอังคาร|วันพุธ|วันพฤหัสบดี|วันศุกร์|วันเสาร์",
        "มกราคม|กุมภาพันธ์|มีนาคม|เมษายน|พฤษภาคม|มิถุนายน|กรกฎาคม|สิงหาคม|กันยายน|ตุลาคม|พฤศจิกายน|ธันวาคม",
    ),
    "tr_TR": (
        "Pazar|Pazartesi|Salı|Çarşamba|Perşembe|Cuma|Cumartesi",
        "Ocak|Şubat|Mart|Nisan|Mayıs|Haziran|Temmuz|Ağustos|Eylül|Ekim|Kasım|Aralık",
    ),
    "uk_UA": (
        "неділя|понеділок|вівторок|середа|четвер|пʼятниця|субота",
        "січень|лютий|березень|квітень|травень|червень|липень|серпень|вересень|жовтень|листопад|грудень",
    ),
    "vi_VN": (
        "Chủ Nhật|Thứ Hai|Thứ Ba|Thứ Tư|Thứ Năm|Thứ Sáu|Thứ Bảy",
        (
            "Tháng 1|Tháng 2|Tháng 3|Tháng 4|Tháng 5|Tháng 6|Tháng 7|Tháng 8|Tháng 9|"
            "Tháng 10|Tháng 11|Tháng 12"
        ),
    ),
    "zh_CN": (
        "星期日|星期一|星期二|星期三|星期四|星期五|星期六",
        "一月|二月|三月|四月|五月|六月|七月|八月|九月|十月|十一月|十二月",
    ),
    "zh_TW": (
        "星期日|星期一|星期二|星期三|星期四|星期五|星期六",
        "1月|2月|3月|4月|5月|6月|7月|8月|9月|10月|11月|12月",
    ),
}

# By locale: seconds, minutes, hours, days, and the word between two alternatives.
LABELS: dict[str, str] = {
    "cs_CZ": "sekundy|minuty|hodiny|dny| nebo ",
    "da_DK": "sekunder|minutter|timer|dage| eller ",
    "de_DE": "Sekunden|Minuten|Stunden|Tage| oder ",
    "el_GR": "δευτερόλεπτα|λεπτά|ώρες|ημέρες| ή ",
    "en_US": "seconds|minutes|hours|days| or ",
    "es_ES": "segundos|minutos|horas|días| o ",
    "es_MX": "segundos|minutos|horas|días| o ",
    "fa_IR": "ثانیه|دقیقه|ساعت|روز| یا ",
    "fi_FI": "sekunnit|minuutit|tunnit|päivät| tai ",
    "fr_FR": "secondes|minutes|heures|jours| ou ",
    "he_IL": "שניות|דקות|שעות|ימים| או ",
    "hu_HU": "másodperc|perc|óra|nap| vagy ",
    "it_IT": "secondi|minuti|ore|giorni| o ",
    "ja_JP": "秒|分|時|日|または",
    "kk_KZ": "секунд|минут|сағат|күн| не ",
    "ko_KR": "초|분|시간|일| 또는 ",
    "nb_NO": "sekunder|minutter|timer|dager| eller ",
    "nl_NL": "seconden|minuten|uur|dagen| of ",
    "pl_PL": "sekundy|minuty|godziny|dni| lub ",
    "pt_PT": "segundos|minutos|horas|dias| ou ",
    "ro_RO": "secunde|minute|ore|zile| sau ",
    "ru_RU": "секунды|минуты|часы|дни| или ",
    "sk_SK": "sekundy|minúty|hodiny|dni| alebo ",
    "sl_SI": "sekunde|minute|ure|dni| ali ",
    "sv_SE": "sekunder|minuter|timmar|dagar| eller ",
    "ta_IN": "விநாடிகள்|நிமிடங்கள்|மணிநேரம்|நாட்கள்| அல்லது ",
    "th_TH": "วินาที|นาที|ชั่วโมง|วัน| หรือ ",
    "tr_TR": "saniye|dakika|saat|gün| veya ",
    "uk_UA": "секунди|хвилини|години|дні| або ",
    "vi_VN": "giây|phút|tiếng|ngày| hoặc ",
    "zh_CN": "秒钟|分钟|小时|天|或",
    "zh_TW": "秒|分鐘|小時|天|或",
}
